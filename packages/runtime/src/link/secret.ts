const characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** Length of a {@link createSecret}. */
export const secretLength = 22;

/**
 * A token of a subject that nobody guesses: 22 characters, 132 random bits. A NUID does
 * not do for that: who sees one of a process knows the next ones but for a few digits,
 * and workers see NUIDs in call ids.
 */
export function createSecret(): string {
  let secret = "";
  for (const byte of crypto.getRandomValues(new Uint8Array(secretLength))) {
    secret += characters[byte & 63];
  }
  return secret;
}
