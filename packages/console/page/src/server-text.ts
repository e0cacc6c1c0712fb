/** The name of a NATS server; one that has none has an id of 56 letters, of which the first tell it apart. */
export function serverText(name: string): string {
  return /^N[A-Z2-7]{55}$/.test(name) ? `${name.slice(0, 8)}…` : name;
}
