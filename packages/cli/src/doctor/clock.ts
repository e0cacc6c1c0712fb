import { type Finding, ok, warning } from "./finding.js";

/** A difference of clocks from which on times are misleading, in ms. */
const toleranceMs = 1_000;

/** What servers say of the time, compared with this machine's: the greatest difference counts. */
export class Clock {
  /** Positive when this machine is ahead of the server, in ms. */
  private apartMs: number | undefined;

  /** The server's time lies between question and answer when the clocks agree. */
  compare(serverMs: number, askedAt: number, answeredAt: number): void {
    const aheadMs = askedAt - serverMs;
    const behindMs = serverMs - answeredAt;
    const apartMs = aheadMs > behindMs ? Math.max(aheadMs, 0) : -Math.max(behindMs, 0);
    if (Math.abs(apartMs) >= Math.abs(this.apartMs ?? 0)) {
      this.apartMs = apartMs;
    }
  }

  /** Nothing where no server has told the time. */
  get findings(): Finding[] {
    const { apartMs } = this;
    if (apartMs === undefined) {
      return [];
    }
    const seconds = (Math.abs(apartMs) / 1000).toFixed(1);
    return [
      Math.abs(apartMs) > toleranceMs
        ? warning(
            `this machine's clock is ${seconds} s ${apartMs > 0 ? "ahead of" : "behind"} the server's`,
            "set both by NTP: notBefore and the times of dead letters depend on them",
          )
        : ok("this machine's clock agrees with the server's"),
    ];
  }
}
