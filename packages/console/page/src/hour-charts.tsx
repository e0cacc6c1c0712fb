import type { Series } from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { Chart } from "./chart.js";
import { durationText, rateText } from "./format.js";

/** What happened in the last hour. Charts keep their place while nothing is known yet. */
export function HourCharts({ series }: { series: Series | undefined }) {
  const times = series?.at ?? [];
  const perMinute = (values: readonly number[] = []) => values.map((each) => known(each * 60));
  const plain = (values: readonly number[] = []) => values.map(known);
  const succeeded = perMinute(series?.succeeded);
  const failed = perMinute(series?.failed);
  const queued = plain(series?.queued);
  const running = plain(series?.running);
  const durations = (series?.duration ?? []).map((each) => known(each * 1_000));
  const rate = (value: number) => rateText(value);
  return (
    <div className="columns three">
      <div className="card">
        <Chart
          title="Ended per minute"
          summary={`now ${last(succeeded, rate)} succeeded and ${last(failed, rate)} failed per minute`}
          times={times}
          format={rate}
          series={[
            { label: "succeeded", color: "good", values: succeeded, isBars: true },
            { label: "failed", color: "bad", values: failed, isBars: true },
          ]}
        />
      </div>
      <div className="card">
        <Chart
          title="In the queue"
          summary={`now ${last(queued, rate)} queued and ${last(running, rate)} running`}
          times={times}
          format={rate}
          series={[
            { label: "queued", color: "warn", values: queued },
            { label: "running", color: "accent", values: running },
          ]}
        />
      </div>
      <div className="card">
        <Chart
          title="Time of a handler"
          summary={`now ${last(durations, durationText)} on average`}
          times={times}
          format={durationText}
          series={[{ label: "average", color: "violet", values: durations }]}
        />
      </div>
    </div>
  );
}

const known = (value: number) => (Number.isNaN(value) ? null : value);

function last(values: readonly (number | null)[], format: (value: number) => string): string {
  const value = values.findLast((each) => each !== null);
  return value === undefined || value === null ? "unknown" : format(value);
}
