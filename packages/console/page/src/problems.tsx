import {
  Place,
  type Problem,
  Severity,
} from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { Link } from "./link.js";
import { pathWith } from "./location.js";
import { methodPath } from "./paths.js";

/** What is wrong, the worst first, with where to look. */
export function Problems({ problems }: { problems: readonly Problem[] }) {
  return (
    <ul>
      {problems.map((problem) => {
        const { severity, title, mend } = problem;
        const look = placeOf(problem);
        return (
          <li key={`${title}${problem.service}${problem.method}`} className="problem">
            <span className={`dot ${tones[severity] ?? ""}`} />
            <div>
              <p>
                <span className="hidden">{words[severity] ?? ""} </span>
                {title}
              </p>
              {mend && <p className="mend">{mend}</p>}
            </div>
            {look && (
              <Link className="look" href={look[1]}>
                {look[0]}
              </Link>
            )}
          </li>
        );
      })}
    </ul>
  );
}

const tones: Record<number, string> = { [Severity.NOTE]: "note", [Severity.ERROR]: "bad" };
const words: Record<number, string> = {
  [Severity.NOTE]: "Note:",
  [Severity.WARNING]: "Warning:",
  [Severity.ERROR]: "Error:",
};

function placeOf({ place, service, method }: Problem): [string, string] | undefined {
  const which = { method: method && `${service}/${method}`, service };
  switch (place) {
    case Place.METHOD:
      return ["Show the method", methodPath(service, method)];
    case Place.CALLS:
      return ["Show the calls", pathWith("/calls", which)];
    case Place.DEAD_LETTERS:
      return ["Show dead letters", pathWith("/dead-letters", which)];
    case Place.WORKERS:
      return ["Show workers", pathWith("/workers", { service })];
    case Place.INFRASTRUCTURE:
      return ["Show streams", "/infrastructure"];
    default:
      return undefined;
  }
}
