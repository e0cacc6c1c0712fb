import type { WaitingCall } from "../connection.js";
import type { Link } from "../link/link.js";
import { countWorkers } from "../link/workers.js";
import type { MethodBinding } from "../schema/binding.js";
import type { CallName } from "../schema/call-id.js";
import { explainNoWorker } from "./no-worker.js";

/** How long a call is waited for before the workers are looked for, in ms. */
const patienceMs = 3_000;

/** Time until it is told again, in ms. */
const againMs = 300_000;

/** Tells of calls that are waited for, and that no worker serves. */
export class WaitingWatch {
  /** When to tell of a call again, in ms since 1970. */
  private readonly tellAt = new WeakMap<CallName, number>();

  constructor(
    private readonly link: Link,
    private readonly tell: (call: WaitingCall) => void,
  ) {}

  /** Somebody has waited since then, in ms since 1970, for a call that no worker runs. */
  check(method: MethodBinding, call: CallName, since: number): void {
    const now = Date.now();
    const waitedMs = now - since;
    if (waitedMs < patienceMs || now < (this.tellAt.get(call) ?? 0)) {
      return;
    }
    this.tellAt.set(call, now + againMs);
    this.findWorkers(method).then(
      (message) => {
        if (message === undefined) {
          this.tellAt.delete(call);
        } else {
          const { service, desc } = method;
          this.tell({
            method: `${service.desc.typeName}.${desc.name}`,
            callId: call.callId,
            waitedMs,
            message,
          });
        }
      },
      // Credentials that may not ask are told nothing.
      () => undefined,
    );
  }

  /** Undefined when there is one. */
  private async findWorkers(method: MethodBinding): Promise<string | undefined> {
    const counts = await countWorkers(this.link, method.service);
    return counts.has(method.desc.name)
      ? undefined
      : (await explainNoWorker(this.link, method)).rawMessage;
  }
}
