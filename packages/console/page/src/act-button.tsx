import { type ReactNode, useId } from "react";
import type { Ability } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { useRefusal } from "./session.js";

/** A button of an act. Where this user may not act it says why, to the eye and to the ear. */
export function ActButton({
  ability,
  service,
  onAct,
  className,
  children,
}: {
  ability: Ability;
  service: string;
  onAct: () => void;
  className?: string;
  children: ReactNode;
}) {
  const refusal = useRefusal(ability, service);
  const reason = useId();
  if (refusal === undefined) {
    return (
      <button type="button" className={className} onClick={onAct}>
        {children}
      </button>
    );
  }
  return (
    <span title={refusal}>
      <button type="button" className={className} disabled aria-describedby={reason}>
        {children}
      </button>
      <span id={reason} className="hidden">
        {refusal}
      </span>
    </span>
  );
}
