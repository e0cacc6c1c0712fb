/** Longest name that npm takes. */
const longest = 214;

/** Names that npm keeps for itself. */
const reserved = ["node_modules", "favicon.ico"];

/** Why a name is none for a package of npm, with a better one; undefined when it is one. */
export function nameProblem(name: string): string | undefined {
  if (
    name.length <= longest &&
    !reserved.includes(name) &&
    /^(@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/.test(name)
  ) {
    return undefined;
  }
  const better = name
    .toLowerCase()
    // ü is u and two dots.
    .normalize("NFKD")
    .replaceAll(/\p{M}+/gu, "")
    .replaceAll(/[^a-z0-9._~-]+/g, "-")
    .replaceAll(/^[._-]+|[._-]+$/g, "")
    .slice(0, longest);
  const isGood = better !== "" && !reserved.includes(better);
  return `"${name}" is no name for npm: ${isGood ? `take ${better}` : "use a-z, 0-9 and -"}`;
}
