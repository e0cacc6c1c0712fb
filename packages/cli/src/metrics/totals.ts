/** What is known of one source of a total. */
interface Known {
  /** When the server made the source. */
  readonly created: string | undefined;
  /** The most that it has told. */
  readonly most: number;
  /** What sources of its name had told before it was made. */
  readonly before: number;
}

/**
 * Totals that never fall. A server that is killed, or another one that takes the lead, has forgotten the
 * last deliveries of a consumer; Prometheus would take a total that falls for one that began anew at 0, and
 * count all of it once more.
 */
export class Totals {
  private readonly known = new Map<string, Known>();

  /** The total of a source, of which the server tells a count; `created` is undefined while it is missing. */
  of(source: string, created: string | undefined, count: number): number {
    const last = this.known.get(source) ?? { created, most: 0, before: 0 };
    const next =
      last.created === created
        ? { ...last, most: Math.max(last.most, count) }
        : { created, most: count, before: last.before + last.most };
    this.known.set(source, next);
    return next.before + next.most;
  }
}
