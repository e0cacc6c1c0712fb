/** Writes a line for the post-mortem: what a member of the attack does and sees. */
export function say(message: string, fields: object = {}): void {
  const record = { time: new Date().toISOString(), pid: process.pid, message, ...fields };
  process.stderr.write(`${JSON.stringify(record, errorAsText)}\n`);
}

function errorAsText(_key: string, value: unknown): unknown {
  return value instanceof Error ? `${value}`.slice(0, 500) : value;
}
