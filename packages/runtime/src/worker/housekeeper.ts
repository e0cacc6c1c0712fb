import { Code, ConnectError } from "@connectrpc/connect";
import {
  type Floor,
  hasLongEnded,
  isOverdue,
  nextLater,
  nextRequest,
  putInAgain,
  readFloor,
} from "../ledger/forgotten.js";
import type { StoredRequest } from "../ledger/stored-request.js";
import { neverFits } from "../link/jetstream-error.js";
import type { Link } from "../link/link.js";
import type { MethodBinding, ServiceBinding } from "../schema/binding.js";
import { type ConsumerSettings, describeInfrastructure } from "../schema/infrastructure.js";
import type { Logger } from "./logger.js";

/** How often it looks, in ms. */
const intervalMs = 20_000;

/** The same while more is forgotten than it puts in again in one round, in ms. */
const busyMs = 1_000;

/** Messages of one kind that it looks at in one round: a bound on its cost. */
const roundLimit = 500;

/**
 * The same above the acknowledged floor of a consumer, where each costs a look at its
 * log, too. Most of these calls run.
 */
const aboveLimit = 50;

/** Looks for what is forgotten in one place, and tells whether there is more of it. */
type Sweep = () => Promise<boolean>;

/**
 * Puts in again what a server has forgotten to hand out, so that no accepted call
 * waits for ever (docs/decisions/0011):
 *
 * - A server that was killed may bring back a request whose consumer counts it as
 *   acknowledged, queued or due. The worker that gets it again reads in the log whether its
 *   call has ended.
 * - A server whose store was full when a call was due drops the call's schedule.
 */
export class Housekeeper {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private stopListening: (() => void) | undefined;
  private round: Promise<void> | undefined;
  private isStopping = false;
  /** Where the next round goes on among the calls that are to start later. */
  private cursor = 1;
  /** The floor that each consumer had, and where the next round goes on above it. */
  private readonly floors = new Map<ConsumerSettings, { floor: number; next: number }>();
  private readonly sweeps: Set<Sweep>;

  constructor(
    private readonly link: Link,
    private readonly service: ServiceBinding,
    methods: readonly MethodBinding[],
    private readonly log: Logger,
  ) {
    const handed = describeInfrastructure(service).consumers.filter(({ method }) =>
      methods.includes(method),
    );
    this.sweeps = new Set([
      ...handed.map(
        ({ stream, config }) =>
          () =>
            this.sweepConsumer(stream, config),
      ),
      () => this.sweepLater(),
    ]);
  }

  start(): void {
    // A server that crashed is one whose connections were lost.
    this.stopListening = this.link.onReconnect(() => this.schedule(Math.random() * 5_000));
    this.schedule(intervalMs * Math.random());
  }

  stop(): void {
    this.isStopping = true;
    clearTimeout(this.timer);
    this.stopListening?.();
  }

  /** Waits for the round under way. */
  async idle(): Promise<void> {
    await this.round;
  }

  private schedule(ms: number): void {
    clearTimeout(this.timer);
    if (!this.isStopping) {
      this.timer = setTimeout(() => {
        this.round = this.run();
      }, ms);
    }
  }

  private async run(): Promise<void> {
    let hasMore = false;
    for (const sweep of this.sweeps) {
      try {
        hasMore = (await this.unlessDenied(sweep)) || hasMore;
      } catch (error) {
        // The next round will do; a server that does not answer has other troubles.
        this.log({ level: "debug", message: "housekeeping failed", error });
      }
    }
    if (this.sweeps.size > 0) {
      this.schedule(hasMore ? busyMs : intervalMs * (0.75 + Math.random() / 2));
    }
  }

  /** A stream that may not be read is left to workers of all methods: docs/security.md. */
  private async unlessDenied(sweep: Sweep): Promise<boolean> {
    try {
      return await sweep();
    } catch (error) {
      if (ConnectError.from(error).code !== Code.PermissionDenied) {
        throw error;
      }
      this.sweeps.delete(sweep);
      return false;
    }
  }

  /** Looks for requests that a consumer counts as acknowledged, and that are still there. */
  private async sweepConsumer(stream: string, config: ConsumerSettings): Promise<boolean> {
    const { link } = this;
    const floor = await readFloor(link, stream, config.name);
    let from = 1;
    for (let count = 0; count < roundLimit && !this.isStopping; count++) {
      const request = await nextRequest(link, stream, config, from);
      if (!request || request.sequence > floor.acknowledged) {
        if (floor.delivered > floor.acknowledged) {
          await this.sweepAbove(stream, config, floor);
        }
        return false;
      }
      await this.putInAgain(request);
      from = request.sequence + 1;
    }
    return true;
  }

  /**
   * A call that takes days keeps the floor low. A request above it may be acknowledged
   * as well, and only the server knows: but a call that has ended runs nowhere.
   */
  private async sweepAbove(stream: string, config: ConsumerSettings, floor: Floor): Promise<void> {
    const { link, service } = this;
    const { acknowledged, delivered } = floor;
    const last = this.floors.get(config);
    let next = last?.floor === acknowledged ? Math.max(last.next, acknowledged + 1) : 0;
    for (let count = 0; next > 0 && count < aboveLimit && !this.isStopping; count++) {
      const request = await nextRequest(link, stream, config, next);
      next = request && request.sequence <= delivered ? request.sequence + 1 : 0;
      if (request && next > 0 && (await hasLongEnded(link, service, request))) {
        await this.putInAgain(request);
      }
    }
    this.floors.set(config, { floor: acknowledged, next });
  }

  /** Looks for requests that a schedule should have made due. */
  private async sweepLater(): Promise<boolean> {
    const { link, service } = this;
    for (let count = 0; count < roundLimit && !this.isStopping; count++) {
      const request = await nextLater(link, service, this.cursor);
      if (!request) {
        this.cursor = 1;
        return false;
      }
      this.cursor = request.sequence + 1;
      if (isOverdue(request)) {
        await this.putInAgain(request);
      }
    }
    // Most of these are only waiting for their time: the next ones are in no hurry.
    return false;
  }

  private async putInAgain(request: StoredRequest): Promise<void> {
    try {
      if (await putInAgain(this.link, request)) {
        const message = "a forgotten request was put in again";
        const callId = request.callOf(this.service)?.callId;
        this.log({ level: "warn", message, ...(callId && { callId }) });
      }
    } catch (error) {
      if (!neverFits(error)) {
        throw error;
      }
      // One that stays keeps no other from being put in again.
      const message = "a forgotten request cannot be put in again: purge its subject";
      this.log({ level: "error", message, error });
    }
  }
}
