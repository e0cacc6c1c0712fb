import { Code, ConnectError } from "@connectrpc/connect";

/** How many bytes of a secret are enough for a key of 256 bits. */
const minSecretBytes = 32;

/** The bytes of a secret. Throws InvalidArgument for one that is too short. */
export function secretBytes(of: string, secret: string | Uint8Array): Uint8Array {
  const bytes = typeof secret === "string" ? new TextEncoder().encode(secret) : secret;
  if (bytes.length < minSecretBytes) {
    const text = `${of}: the secret has ${bytes.length} bytes, and needs ${minSecretBytes}: make one by \`openssl rand -base64 48\``;
    throw new ConnectError(text, Code.InvalidArgument);
  }
  return bytes;
}
