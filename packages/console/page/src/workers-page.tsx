import { useQuery } from "@tanstack/react-query";
import { consoleClient } from "./console-client.js";
import { Empty } from "./empty.js";
import { Failure } from "./failure.js";
import { plural } from "./format.js";
import { Link } from "./link.js";
import { usePlace } from "./location.js";
import { useTitle } from "./use-title.js";
import { WorkerTable } from "./worker-table.js";

/** The workers that answer. */
export function WorkersPage() {
  useTitle("Workers");
  const { query } = usePlace();
  const service = query.get("service") ?? "";
  const here = query.get("worker") ?? "";
  const { data, error } = useQuery({
    queryKey: ["workers", service],
    queryFn: ({ signal }) => consoleClient.listWorkers({ service }, { signal }),
    refetchInterval: 3_000,
  });
  const services = [...new Set(data?.workers.map((worker) => worker.service))].sort();
  const isGone = here && data && !data.workers.some(({ id }) => id === here);
  return (
    <>
      <div className="head">
        <h1>Workers</h1>
        <p className="soft small">
          {data && plural(data.workers.length, "worker")}
          {service && (
            <>
              {" "}
              of {service}. <Link href="/workers">Show all</Link>
            </>
          )}
        </p>
      </div>
      <Failure error={error} />
      {isGone && (
        <p className="notice">
          The worker <span className="mono">{here}</span> does not run any more, or does not answer.
        </p>
      )}
      {data?.workers.length === 0 && (
        <section className="card">
          <Empty title="No worker answers">
            Durable calls wait until one runs, direct calls fail. Start a worker; one that has
            started but is not here says why on stderr.
          </Empty>
        </section>
      )}
      {services.map((name) => (
        <section key={name} className="card" aria-label={name}>
          <header>
            <h2>{name}</h2>
            <span className="soft small">
              {versionsText(data?.workers.filter((each) => each.service === name) ?? [])}
            </span>
          </header>
          <WorkerTable
            workers={data?.workers.filter((each) => each.service === name) ?? []}
            here={here}
          />
        </section>
      ))}
      {!data && !error && (
        <section className="card" aria-busy="true">
          <Empty title="Asking the workers…" />
        </section>
      )}
    </>
  );
}

function versionsText(workers: readonly { version: string }[]): string {
  const versions = [...new Set(workers.map(({ version }) => version))].sort();
  return `${plural(workers.length, "worker")}, ${versions.length === 1 ? "version" : "versions"} ${versions.join(", ")}`;
}
