import { Code } from "@connectrpc/connect";

/** The name of a code as Connect spells it: `resource_exhausted`. */
export function codeName(code: Code): string {
  const name = Code[code] ?? "Unknown";
  return name.replace(/(?<=.)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}

/** The code of such a name; undefined when there is none. */
export function codeNamed(name: string): Code | undefined {
  const key = name.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return /^[a-z_]+$/.test(name) ? (Code as unknown as Record<string, Code>)[key] : undefined;
}
