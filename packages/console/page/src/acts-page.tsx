import { useQuery } from "@tanstack/react-query";
import { consoleClient } from "./console-client.js";
import { Empty } from "./empty.js";
import { Failure } from "./failure.js";
import { countText } from "./format.js";
import { Link } from "./link.js";
import { callPath } from "./paths.js";
import { Clock } from "./time.js";
import { dateOf } from "./timestamps.js";
import { useTitle } from "./use-title.js";

/** What was done by this console, and by whom. */
export function ActsPage() {
  useTitle("Log of acts");
  const { data, error } = useQuery({
    queryKey: ["acts"],
    queryFn: ({ signal }) => consoleClient.listActs({}, { signal }),
    refetchInterval: 5_000,
  });
  return (
    <>
      <div className="head">
        <h1>Log of acts</h1>
        <p className="soft small">
          {data?.file ? (
            <>
              The last 1,000. All are in <span className="mono">{data.file}</span>.
            </>
          ) : (
            "The last 1,000 of this console. All are on its stderr."
          )}
        </p>
      </div>
      <Failure error={error} />
      <section className="card" aria-label="Acts">
        {data?.acts.length === 0 ? (
          <Empty title="Nothing was done yet">
            Who pauses a method, cancels, replays or discards a call in this console is written
            here.
          </Empty>
        ) : data ? (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls by the keyboard, too
          <section className="scroll" tabIndex={0} aria-label="Acts, the newest first">
            <table>
              <thead>
                <tr>
                  <th scope="col">At</th>
                  <th scope="col">Who</th>
                  <th scope="col">Act</th>
                  <th scope="col">To</th>
                  <th scope="col" className="number">
                    Calls
                  </th>
                  <th scope="col">Outcome</th>
                </tr>
              </thead>
              <tbody>
                {data.acts.map((act, index) => {
                  const at = dateOf(act.at);
                  return (
                    // biome-ignore lint/suspicious/noArrayIndexKey: counted from the oldest one
                    <tr key={data.acts.length - index}>
                      <td className="small nowrap">{at && <Clock at={at} />}</td>
                      <td>{act.user}</td>
                      <td>{act.act}</td>
                      <td className="long">
                        {act.name ? (
                          <Link href={callPath(act.name)} className="mono">
                            {act.target || act.name.callId}
                          </Link>
                        ) : (
                          act.target
                        )}
                      </td>
                      <td className="number">
                        {act.count === undefined ? "" : countText(act.count)}
                      </td>
                      <td className={`long ${act.failed ? "bad-text" : ""}`}>{act.outcome}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </section>
        ) : (
          !error && <Empty title="Reading the log…" />
        )}
      </section>
    </>
  );
}
