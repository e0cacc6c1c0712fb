/** How long to look for the messages that a failure needs, in ms. */
const patienceMs = 600_000;

/** The signature of a failure: the process that failed, and its error. */
function signatureOf(problem: string): string {
  const error = /^(\w*Error\b[^\n]*|.*\bwarning\b.*)$/im.exec(problem)?.[1] ?? problem;
  return error
    .replace(/\d+/g, "#")
    .replace(/_INBOX\S+/g, "#")
    .slice(0, 120);
}

/**
 * Looks for few messages that cause the same failure: leaves out halves, then quarters,
 * and so on, as long as it fails all the same. Returns undefined when it does not
 * fail again at all.
 */
export async function shrink(
  indexes: readonly number[],
  problem: string,
  attempt: (indexes: readonly number[]) => Promise<string | undefined>,
  report: (line: string) => void,
): Promise<readonly number[] | undefined> {
  const until = Date.now() + patienceMs;
  const wanted = signatureOf(problem);
  const fails = async (some: readonly number[]) => {
    const got = await attempt(some);
    const isSame = got !== undefined && signatureOf(got) === wanted;
    report(
      `  ${some.length} messages: ${isSame ? "fail" : got === undefined ? "do no harm" : `fail otherwise: ${signatureOf(got)}`}`,
    );
    return isSame;
  };
  let guilty = indexes;
  // The last ones most likely.
  for (const size of [512, indexes.length]) {
    guilty = indexes.slice(-size);
    if (await fails(guilty)) {
      break;
    }
    if (size >= indexes.length) {
      return undefined;
    }
  }
  for (let parts = 2; guilty.length > 1 && Date.now() < until; ) {
    const size = Math.ceil(guilty.length / parts);
    let smaller: readonly number[] | undefined;
    for (let at = 0; at < guilty.length && !smaller && Date.now() < until; at += size) {
      const part = guilty.slice(at, at + size);
      const others = [...guilty.slice(0, at), ...guilty.slice(at + size)];
      if (await fails(part)) {
        smaller = part;
        parts = 2;
      } else if (parts > 2 && (await fails(others))) {
        smaller = others;
        parts = Math.max(2, parts - 1);
      }
    }
    if (smaller) {
      guilty = smaller;
    } else if (size === 1) {
      break;
    } else {
      parts = Math.min(guilty.length, parts * 2);
    }
  }
  return guilty;
}
