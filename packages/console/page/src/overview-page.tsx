import {
  Delivery,
  type MethodFigures,
} from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { Empty } from "./empty.js";
import { Failure } from "./failure.js";
import { countText, durationText, plural, rateText } from "./format.js";
import { HourCharts } from "./hour-charts.js";
import { Link } from "./link.js";
import { pathWith } from "./location.js";
import { useOverview } from "./overview.js";
import { methodPath } from "./paths.js";
import { Problems } from "./problems.js";
import { useSession } from "./session.js";
import { Tile } from "./tile.js";
import { Ago } from "./time.js";
import { dateOf } from "./timestamps.js";
import { useTitle } from "./use-title.js";

/** What runs, how it does, and what is wrong. */
export function OverviewPage() {
  useTitle("Overview");
  const { value: overview, error } = useOverview();
  const { services } = useSession();
  const durable = overview?.methods.filter(({ delivery }) => delivery === Delivery.DURABLE);
  const sum = (of: (figures: MethodFigures) => number | bigint | undefined) =>
    durable?.reduce((all, figures) => all + Number(of(figures) ?? 0), 0);
  const num = (count: number | undefined) => (count === undefined ? undefined : countText(count));
  const workers = overview?.workers.reduce((all, each) => all + each.workers, 0);
  const failed = sum((each) => each.failed);
  return (
    <>
      <div className="head">
        <h1>Overview</h1>
        <p className="soft small">
          {plural(services.length, "service")}
          {overview?.at && (
            <>
              , as of <Ago at={dateOf(overview.at) as Date} />
            </>
          )}
        </p>
      </div>
      {!overview && <Failure error={error} />}
      <section className="card" aria-labelledby="wrong">
        <header>
          <h2 id="wrong">
            {overview?.problems.length ? "Needs attention" : overview ? "All is well" : "Looking…"}
          </h2>
          {overview?.problems.length === 0 && (
            <span className="soft small">
              Workers answer, nothing waits too long, the server is as the schema says.
            </span>
          )}
        </header>
        {overview && overview.problems.length > 0 && <Problems problems={overview.problems} />}
      </section>
      <div className="tiles">
        <Tile
          name="Queued"
          value={num(sum((each) => each.queued))}
          href={pathWith("/calls", { state: "queued" })}
        />
        <Tile
          name="Running"
          value={num(sum((each) => each.running))}
          href={pathWith("/calls", { state: ["running", "retrying"] })}
        />
        <Tile
          name="Scheduled"
          value={num(sum((each) => each.scheduled))}
          href={pathWith("/calls", { state: "scheduled" })}
        />
        <Tile
          name="Dead letters"
          value={num(failed)}
          href="/dead-letters"
          tone={failed ? "bad-text" : ""}
        />
        <Tile
          name="Ended"
          value={overview && rateText((sum((each) => each.endedRate) ?? 0) * 60)}
          unit="/min"
        />
        <Tile name="Workers" value={num(workers)} href="/workers" />
      </div>
      <HourCharts series={overview?.series} />
      <Methods methods={overview?.methods} />
    </>
  );
}

function Methods({ methods }: { methods: readonly MethodFigures[] | undefined }) {
  const services = [...new Set(methods?.map(({ service }) => service))];
  return (
    <section className="card" aria-labelledby="methods">
      <header>
        <h2 id="methods">Methods</h2>
      </header>
      {methods?.length === 0 ? (
        <Empty title="No methods are known">
          Start a worker, or name the schema with <code>--descriptors</code>: the console shows the
          services of it.
        </Empty>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls by the keyboard, too
        <section className="scroll" tabIndex={0} aria-label="Methods and their figures">
          <table>
            <thead>
              <tr>
                <th scope="col">Method</th>
                <th scope="col">State</th>
                <th scope="col" className="number">
                  Queued
                </th>
                <th scope="col">Oldest</th>
                <th scope="col" className="number">
                  Running
                </th>
                <th scope="col" className="number">
                  Dead
                </th>
                <th scope="col" className="number">
                  Ended /min
                </th>
                <th scope="col" className="number">
                  Failed /min
                </th>
                <th scope="col" className="number">
                  Average
                </th>
                <th scope="col" className="number">
                  Workers
                </th>
                <th scope="col" className="number">
                  Slots
                </th>
              </tr>
            </thead>
            <tbody>
              {services.flatMap((service) => [
                <tr key={service} className="group">
                  <td colSpan={11}>{service}</td>
                </tr>,
                ...(methods ?? [])
                  .filter((each) => each.service === service)
                  .map((each) => <MethodRow key={`${service}/${each.method}`} figures={each} />),
              ])}
            </tbody>
          </table>
        </section>
      )}
    </section>
  );
}

function MethodRow({ figures }: { figures: MethodFigures }) {
  const { service, method, delivery, workers, slots, slotsTaken, paused } = figures;
  const isDurable = delivery === Delivery.DURABLE;
  const oldest = dateOf(figures.oldestQueuedAt);
  return (
    <tr>
      <td>
        <Link href={methodPath(service, method)}>{method}</Link>
      </td>
      <td>
        {paused ? (
          <span className="badge warn">Paused</span>
        ) : workers === 0 ? (
          <span className={`badge ${figures.queued ? "bad" : ""}`}>No worker</span>
        ) : isDurable ? (
          <span className="badge good">Runs</span>
        ) : (
          <span className="badge">Direct</span>
        )}
      </td>
      <Figure value={figures.queued} />
      <td className="small">{oldest ? <Ago at={oldest} /> : <span className="zero">–</span>}</td>
      <Figure value={figures.running} />
      <Figure value={figures.failed} isBad />
      <Figure value={figures.endedRate} format={(rate) => rateText(rate * 60)} />
      <Figure value={figures.failedRate} format={(rate) => rateText(rate * 60)} isBad />
      <Figure value={figures.duration} format={(s) => durationText(s * 1_000)} />
      <Figure value={workers} />
      <td className="number">{slots > 0 ? `${slotsTaken}/${slots}` : slotsTaken || <Zero />}</td>
    </tr>
  );
}

function Figure({
  value,
  format = countText,
  isBad = false,
}: {
  value: number | bigint | undefined;
  format?: (value: number) => string;
  isBad?: boolean;
}) {
  const number = value === undefined ? undefined : Number(value);
  return (
    <td className="number">
      {number ? (
        <span className={isBad ? "bad-text" : ""}>{format(number)}</span>
      ) : (
        <Zero none={number === undefined} />
      )}
    </td>
  );
}

function Zero({ none = false }: { none?: boolean }) {
  return <span className="zero">{none ? "–" : "0"}</span>;
}
