import { useState } from "react";
import {
  Ability,
  Delivery,
  type MethodFigures,
} from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { ActButton } from "./act-button.js";
import { AskDialog } from "./ask-dialog.js";
import { consoleClient } from "./console-client.js";
import { Empty } from "./empty.js";
import { Failure } from "./failure.js";
import { countText, durationText, plural, rateText } from "./format.js";
import { HourCharts } from "./hour-charts.js";
import { Link } from "./link.js";
import { pathWith, usePlace } from "./location.js";
import { Problems } from "./problems.js";
import { Tile } from "./tile.js";
import { Ago, Clock } from "./time.js";
import { dateOf, timestampOf } from "./timestamps.js";
import { useTitle } from "./use-title.js";
import { useWatch } from "./use-watch.js";
import { WorkerTable } from "./worker-table.js";

/** How one method does. */
export function MethodPage() {
  const { query } = usePlace();
  const service = query.get("service") ?? "";
  const method = query.get("method") ?? "";
  useTitle(method);
  return <OneMethod key={`${service}/${method}`} service={service} method={method} />;
}

function OneMethod({ service, method }: { service: string; method: string }) {
  const [round, setRound] = useState(0);
  const { value, error } = useWatch(
    `method ${service}/${method}`,
    (signal) => consoleClient.watchMethod({ service, method }, { signal }),
    { round },
  );
  const [act, setAct] = useState<"pause" | "resume">();
  const state = value?.state;
  const figures = state?.figures;
  const isDurable = figures?.delivery !== Delivery.DIRECT;
  const until = dateOf(figures?.pausedUntil);
  return (
    <>
      <div className="head">
        <div>
          <p className="trail">
            <Link href="/">Overview</Link> / {service}
          </p>
          <h1>{method}</h1>
        </div>
        <div className="acts">
          {figures?.paused && (
            <span className="badge warn">
              Paused{" "}
              {until ? (
                <>
                  until <Clock at={until} />
                </>
              ) : (
                "until resumed"
              )}
            </span>
          )}
          {isDurable && (
            <>
              <Link className="button" href={pathWith("/calls", { service, method })}>
                Show its calls
              </Link>
              <ActButton
                ability={Ability.PAUSE}
                service={service}
                onAct={() => setAct(figures?.paused ? "resume" : "pause")}
              >
                {figures?.paused ? "Resume…" : "Pause…"}
              </ActButton>
            </>
          )}
        </div>
      </div>
      {!state && <Failure error={error} />}
      {state && state.problems.length > 0 && (
        <section className="card" aria-label="Needs attention">
          <Problems problems={state.problems} />
        </section>
      )}
      <Figures figures={figures} service={service} method={method} />
      <HourCharts series={state?.series} />
      <section className="card" aria-labelledby="workers">
        <header>
          <h2 id="workers">Workers that serve it</h2>
          {state && <span className="soft small">{plural(state.workers.length, "worker")}</span>}
        </header>
        {state && state.workers.length === 0 ? (
          <Empty title="No worker serves this method">
            {isDurable
              ? "Its calls wait, and none is lost: they run when a worker with this method starts."
              : "Calls fail with unavailable until a worker with this method starts."}
          </Empty>
        ) : (
          <WorkerTable workers={state?.workers ?? []} only={method} />
        )}
      </section>
      {state && state.options.length > 0 && (
        <section className="card" aria-labelledby="options">
          <header>
            <h2 id="options">Options of the schema</h2>
          </header>
          <dl className="in facts">
            {state.options.map(({ name, value }) => (
              <div key={name} className="pair">
                <dt className="mono">{name}</dt>
                <dd className="mono">{value}</dd>
              </div>
            ))}
          </dl>
        </section>
      )}
      {act === "pause" && (
        <PauseDialog
          service={service}
          method={method}
          queued={Number(figures?.queued ?? 0)}
          running={Number(figures?.running ?? 0)}
          onClose={() => setAct(undefined)}
          onDone={() => setRound(round + 1)}
        />
      )}
      {act === "resume" && (
        <AskDialog
          title={`Resume ${method}?`}
          act="Resume"
          onClose={() => setAct(undefined)}
          onAct={async () => {
            await consoleClient.resumeMethod({ service, method });
            setRound(round + 1);
          }}
        >
          <p>
            Workers take its calls again: {plural(Number(figures?.queued ?? 0), "call")} wait
            {Number(figures?.queued ?? 0) === 1 ? "s" : ""} now.
          </p>
        </AskDialog>
      )}
    </>
  );
}

function Figures({
  figures,
  service,
  method,
}: {
  figures: MethodFigures | undefined;
  service: string;
  method: string;
}) {
  const text = (value: number | bigint | undefined) =>
    figures && (value === undefined ? "–" : countText(value));
  const list = (state: string | string[]) => pathWith("/calls", { service, method, state });
  const isDirect = figures?.delivery === Delivery.DIRECT;
  const oldest = dateOf(figures?.oldestQueuedAt);
  const rate = (value: number | undefined) =>
    figures && (value === undefined ? "–" : rateText(value * 60));
  return (
    <div className="tiles">
      {!isDirect && (
        <>
          <Tile
            name="Queued"
            value={text(figures?.queued)}
            href={list("queued")}
            note={
              oldest && (
                <>
                  oldest <Ago at={oldest} />
                </>
              )
            }
          />
          <Tile
            name="Running"
            value={text(figures?.running)}
            href={list(["running", "retrying"])}
          />
          <Tile name="Scheduled" value={text(figures?.scheduled)} href={list("scheduled")} />
          <Tile
            name="Dead letters"
            value={text(figures?.failed)}
            href={pathWith("/dead-letters", { service, method })}
            tone={figures?.failed ? "bad-text" : ""}
          />
          <Tile name="Ended" value={rate(figures?.endedRate)} unit="/min" />
        </>
      )}
      <Tile
        name="Slots taken"
        value={figures && countText(figures.slotsTaken)}
        unit={figures?.slots ? `of ${countText(figures.slots)}` : "no limit"}
        note={
          figures && figures.slots > 0 ? (
            <progress
              value={figures.slotsTaken}
              max={figures.slots}
              aria-label="Slots that are taken"
            />
          ) : undefined
        }
      />
      <Tile
        name="Average"
        value={
          figures && (figures.duration === undefined ? "–" : durationText(figures.duration * 1_000))
        }
      />
    </div>
  );
}

function PauseDialog({
  service,
  method,
  queued,
  running,
  onClose,
  onDone,
}: {
  service: string;
  method: string;
  queued: number;
  running: number;
  onClose: () => void;
  onDone: () => void;
}) {
  const [minutes, setMinutes] = useState("");
  return (
    <AskDialog
      title={`Pause ${method}?`}
      act="Pause"
      isDangerous
      onClose={onClose}
      onAct={async () => {
        const until = minutes ? new Date(Date.now() + Number(minutes) * 60_000) : undefined;
        const timestamp = timestampOf(until);
        await consoleClient.pauseMethod({
          service,
          method,
          ...(timestamp && { until: timestamp }),
        });
        onDone();
      }}
    >
      <p>
        Workers take no further calls of it: {plural(queued, "call")} that wait
        {queued === 1 ? "s" : ""} now, and those that come, stay in the queue.{" "}
        {plural(running, "call")} that run
        {running === 1 ? "s" : ""} go{running === 1 ? "es" : ""} on to{" "}
        {running === 1 ? "its" : "their"} end.
      </p>
      <label>
        It ends
        <select value={minutes} onChange={(event) => setMinutes(event.target.value)}>
          <option value="">when somebody resumes it</option>
          <option value="15">by itself in 15 minutes</option>
          <option value="60">by itself in 1 hour</option>
          <option value="480">by itself in 8 hours</option>
          <option value="1440">by itself in 24 hours</option>
        </select>
      </label>
    </AskDialog>
  );
}
