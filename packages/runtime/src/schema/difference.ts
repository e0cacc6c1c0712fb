/** A setting that is not as the schema says. */
export interface Difference {
  /** Field of JetStream's configuration: `max_age`. */
  readonly field: string;
  /** The value on the server, as JetStream writes it; durations in ns. Undefined when it is not set. */
  readonly from: unknown;
  /** The value that the schema demands. */
  readonly to: unknown;
}

/** Compares what is wanted with what is there, which may say more. */
export function findDifferences(wanted: object, actual: object): Difference[] {
  const there = actual as Record<string, unknown>;
  return Object.entries(wanted)
    .filter(([field, to]) => !isEqual(to, there[field]))
    .map(([field, to]) => ({ field, from: there[field], to }));
}

/** The server leaves out what has its zero value. */
function isEqual(wanted: unknown, actual: unknown): boolean {
  if (actual === undefined) {
    return wanted === 0 || wanted === false || wanted === "";
  }
  if (wanted instanceof Object && actual instanceof Object) {
    const isSameLength =
      !Array.isArray(wanted) || (Array.isArray(actual) && wanted.length === actual.length);
    return (
      isSameLength &&
      Object.entries(wanted).every(([key, value]) =>
        isEqual(value, (actual as Record<string, unknown>)[key]),
      )
    );
  }
  return wanted === actual;
}
