/** The file name of a `Content-Disposition` (RFC 6266), without folders; empty without one. */
export function fileNameOf(disposition: string | undefined): string {
  const text = disposition ?? "";
  const [, encoded] = /;\s*filename\*\s*=\s*UTF-8'[^']*'([^;\s]+)/i.exec(text) ?? [];
  const [, quoted, token] =
    /;\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/i.exec(text) ?? [];
  const plain = quoted?.replaceAll(/\\(.)/g, "$1") ?? token ?? "";
  return baseName((encoded && decoded(encoded)) ?? utf8(plain));
}

/** `Content-Disposition` of a download (RFC 6266). */
export function dispositionOf(kind: "attachment" | "inline", fileName: string): string {
  const name = baseName(fileName);
  if (name === "") {
    return kind;
  }
  const plain = name.replaceAll(/[^ !#-$&-[\]-~]/g, "_");
  const encoded = encodeURIComponent(name).replaceAll(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16)}`,
  );
  return `${kind}; filename="${plain}"; filename*=UTF-8''${encoded}`;
}

/** A name of one line, without folders. */
function baseName(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out.
  const line = name.replaceAll(/[\u0000-\u001f\u007f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "");
  const whole = line.replaceAll(/\p{Surrogate}/gu, "_");
  const base = whole.slice(Math.max(whole.lastIndexOf("/"), whole.lastIndexOf("\\")) + 1);
  return base === "." || base === ".." ? "" : base;
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** The bytes of a header come as Latin-1; many clients send UTF-8. */
function utf8(latin1: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(latin1, "latin1"));
  } catch {
    return latin1;
  }
}
