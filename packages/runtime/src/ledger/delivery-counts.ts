import { type ConsumerInfo, consumerInfo } from "../link/jetstream-admin.js";
import type { Link } from "../link/link.js";
import type { MethodBinding } from "../schema/binding.js";

/** By how much the clocks may differ where the server does not tell its time, in ms. */
const skewMs = 5_000;

/**
 * Knows which requests a server may hand out as new although it has handed them out
 * before (docs/decisions/0017): one that was killed forgets the last tenth of a second,
 * and a consumer that is made anew knows nothing. By the server's clock, in ms since 1970.
 */
export class DeliveryCounts {
  /** Of a request that was stored before, the log tells whether it was begun. */
  unsureUntil = 0;
  /** One that was stored before may have been begun, even when its log is empty. */
  doubtfulUntil = 0;
  private stopListening: (() => void) | undefined;
  private server: string | undefined;

  constructor(
    private readonly link: Link,
    private readonly method: MethodBinding,
  ) {}

  /** Resolves when something may be pulled. */
  async start(): Promise<void> {
    this.server = this.serverId;
    // Registered before the pullers: until look() answers, each delivery is in doubt.
    this.stopListening = this.link.onReconnect(() => {
      const { server } = this;
      this.server = this.serverId;
      // The servers of a cluster know from each other what was handed out.
      if (server !== this.server && this.method.service.replicas === 1) {
        this.doubtfulUntil = Number.POSITIVE_INFINITY;
        void this.look().then(({ now }) => {
          this.doubtfulUntil = now;
        });
      }
    });
    const { created, restarted } = await this.look();
    this.unsureUntil = created;
    this.doubtfulUntil = restarted;
  }

  stop(): void {
    this.stopListening?.();
  }

  /** A pull was refused: the consumer may be another one of the same name. */
  async doubtAnew(): Promise<void> {
    const { created } = await this.look();
    if (created > this.unsureUntil) {
      this.unsureUntil = created;
      this.doubtfulUntil = Math.max(this.doubtfulUntil, created);
    }
  }

  private get serverId(): string | undefined {
    return this.link.nats.info?.server_id;
  }

  private async look() {
    const { link, method } = this;
    const infos = await Promise.all(
      method.queues.map(({ consumer }) =>
        consumerInfo(link, method.service.stream, consumer)
          .then((info) => info && readCounts(info))
          .catch(() => undefined),
      ),
    );
    let now = 0;
    let created = 0;
    let restarted = 0;
    for (const info of infos) {
      if (info) {
        now = Math.max(now, info.now);
        created = Math.max(created, info.created);
        restarted = info.isRestarted ? now : restarted;
      }
    }
    // These credentials may not look at it.
    return { now: now || Date.now() + skewMs, created, restarted };
  }
}

/** Throws for what is no answer of a server. */
function readCounts({ ts, created, delivered }: ConsumerInfo) {
  return {
    now: Date.parse(ts ?? "") || 0,
    created: Date.parse(created) || 0,
    // It knows that it delivered, and not when: its server was started anew since.
    isRestarted: delivered.consumer_seq > 0 && !delivered.last_active,
  };
}
