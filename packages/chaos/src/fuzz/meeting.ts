/** How long calls wait for each other, in ms. */
export const meetingLimitMs = 20_000;

/** The text of requests that have so many calls wait for each other. */
export function meetingText(name: string, size: number): string {
  return `meet ${size} ${name}`;
}

/** How many calls are to meet; undefined when the text asks for no meeting. */
export function meetingOf(text: string): number | undefined {
  const size = /^meet (\d+) /.exec(text)?.[1];
  return size === undefined ? undefined : Number(size);
}
