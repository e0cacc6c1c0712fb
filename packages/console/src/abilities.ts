import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@jetrpc/runtime";
import { findRefused, type Grant } from "@jetrpc/runtime/operator";
import { Ability, type RefusalSchema } from "./gen/jetrpc/console/v1/console_service_pb.js";
import type { Target } from "./target.js";
import { readOnly, type User } from "./user.js";

type Refusal = MessageInitShape<typeof RefusalSchema> & { ability: Ability };

/** What changes something. */
const acts = [Ability.PAUSE, Ability.CANCEL, Ability.REPLAY, Ability.DISCARD] as const;

/** How long what credentials may do is remembered, in ms. */
const rememberMs = 60_000;

/** Tells what somebody may not do: by the role, and by the NATS credentials of the console. */
export class Abilities {
  private known: Promise<Refusal[]> | undefined;
  private knownOf = "";
  private knownAt = 0;

  constructor(private readonly target: Target) {}

  async refusedTo({ role }: User): Promise<Refusal[]> {
    const byRole = role === "act" ? [] : acts.map((ability) => ({ ability, reason: readOnly }));
    const byServer = await this.refusedByServer();
    return [
      ...byRole,
      ...byServer.filter(({ ability }) => !byRole.some((r) => r.ability === ability)),
    ];
  }

  /**
   * Throws PermissionDenied where the console's credentials may not see calls of a service, or
   * of one of all: an empty list would say that there are none.
   */
  async checkLook(service: string | undefined): Promise<void> {
    const refused = (await this.refusedByServer()).find(
      (each) => each.ability === Ability.LOOK && (!service || each.service === service),
    );
    if (refused) {
      throw new ConnectError(refused.reason ?? "", Code.PermissionDenied);
    }
  }

  private async refusedByServer(): Promise<Refusal[]> {
    const { services, isConnected } = this.target;
    if (!isConnected) {
      return (await this.known) ?? [];
    }
    const of = services.map(({ typeName }) => typeName).join();
    if (!this.known || this.knownOf !== of || Date.now() - this.knownAt > rememberMs) {
      // A server that goes away meanwhile is told otherwise.
      this.known = this.tryAll().catch(() => []);
      this.knownOf = of;
      this.knownAt = Date.now();
    }
    return await this.known;
  }

  /** Tries what the roles of NATS users need, with no effect. */
  private async tryAll(): Promise<Refusal[]> {
    const refusals: Refusal[] = [];
    for (const service of this.target.services) {
      const tryOne = async (grant: Omit<Grant, "service">, name: string, abilities: Ability[]) => {
        const lacking = await findRefused(this.target.connection, [{ ...grant, service }]);
        const [first] = lacking;
        if (first) {
          const more = lacking.length > 1 ? ` and ${lacking.length - 1} more` : "";
          const reason = `the NATS credentials of the console may not: they lack the right ${first}${more}. Run it with those of the role ${name}: \`jetrpc permissions\` writes them`;
          const { typeName } = service;
          refusals.push(...abilities.map((ability) => ({ ability, service: typeName, reason })));
        }
        return lacking.length === 0;
      };
      if (!(await tryOne({ role: "operator" }, "operator", [...acts]))) {
        await tryOne({ role: "observer", mayRead: true }, "operator, or observer with mayRead", [
          Ability.LOOK,
        ]);
        await tryOne({ role: "observer" }, "observer", [Ability.INFRASTRUCTURE]);
      }
    }
    return refusals;
  }
}
