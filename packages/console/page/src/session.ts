import { createContext, useContext } from "react";
import {
  Ability,
  type GetSessionResponse,
  Role,
} from "../../src/gen/jetrpc/console/v1/console_service_pb.js";

/** Who looks, and what they may do. */
export const SessionContext = createContext<GetSessionResponse | undefined>(undefined);

export function useSession(): GetSessionResponse {
  const session = useContext(SessionContext);
  if (!session) {
    throw new Error("there is no session around this part of the page");
  }
  return session;
}

/** Why this user may not do something; undefined when they may. */
export function useRefusal(ability: Ability, service = ""): string | undefined {
  const { refusals, role } = useSession();
  const refusal = refusals.find(
    (each) => each.ability === ability && (!each.service || !service || each.service === service),
  );
  const isAct = ability !== Ability.LOOK && ability !== Ability.INFRASTRUCTURE;
  return (
    refusal?.reason ??
    (isAct && role !== Role.ACT ? "Your role is read: it may look, and not act." : undefined)
  );
}
