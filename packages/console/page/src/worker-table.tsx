import type { Worker } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { countText, durationText } from "./format.js";
import { Link } from "./link.js";
import { methodPath } from "./paths.js";
import { Ago } from "./time.js";
import { dateOf } from "./timestamps.js";

/** Workers and what they do; with `only`, of one method. */
export function WorkerTable({
  workers,
  only,
  here = "",
}: {
  workers: readonly Worker[];
  only?: string;
  /** Id of the worker that somebody came for. */
  here?: string;
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls by the keyboard, too
    <section className="scroll" tabIndex={0} aria-label="Workers and their load">
      <table>
        <thead>
          <tr>
            <th scope="col">Worker</th>
            <th scope="col">Version</th>
            <th scope="col">Since</th>
            {!only && <th scope="col">Method</th>}
            <th scope="col">Slots taken</th>
            <th scope="col" className="number">
              Calls
            </th>
            <th scope="col" className="number">
              Errors
            </th>
            <th scope="col" className="number">
              Average
            </th>
          </tr>
        </thead>
        <tbody>
          {workers.flatMap((worker) => {
            const methods = worker.methods.filter(({ method }) => !only || method === only);
            const started = dateOf(worker.startedAt);
            return methods.map(({ method, running, slots, calls, errors, duration }, index) => (
              <tr
                key={`${worker.service}/${worker.id}/${method}`}
                className={here === worker.id ? "is-here" : index > 0 ? "same" : ""}
              >
                <td className="mono">
                  {index === 0 && (
                    <>
                      {worker.id} {worker.stopping && <span className="badge warn">Stops</span>}
                    </>
                  )}
                </td>
                <td>{index === 0 && worker.version}</td>
                <td className="small">
                  {index === 0 &&
                    (started ? <Ago at={started} /> : <span className="zero">–</span>)}
                </td>
                {!only && (
                  <td>
                    <Link href={methodPath(worker.service, method)}>{method}</Link>
                  </td>
                )}
                <td className="nowrap">
                  {slots > 0 && (
                    <progress
                      className="meter"
                      value={running}
                      max={slots}
                      aria-label={`Slots of ${method} that are taken`}
                    />
                  )}
                  {slots > 0 ? `${running}/${slots}` : running}
                </td>
                <td className="number">{countText(calls)}</td>
                <td className="number">
                  <span className={errors > 0 ? "bad-text" : "zero"}>{countText(errors)}</span>
                </td>
                <td className="number">
                  {calls > 0 ? durationText(duration * 1_000) : <span className="zero">–</span>}
                </td>
              </tr>
            ));
          })}
        </tbody>
      </table>
    </section>
  );
}
