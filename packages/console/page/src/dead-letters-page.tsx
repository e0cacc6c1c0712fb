import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import {
  Ability,
  BulkAct,
  type DeadLetterGroup,
} from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { ActButton } from "./act-button.js";
import { BulkDialog } from "./bulk-dialog.js";
import { describeFilter, filterOf, type ListFilter, readFilter } from "./call-filter.js";
import { consoleClient } from "./console-client.js";
import { Empty } from "./empty.js";
import { Failure } from "./failure.js";
import { countText, plural } from "./format.js";
import { Link } from "./link.js";
import { goTo, pathWith, usePlace } from "./location.js";
import { MethodSelect } from "./method-select.js";
import { callPath, shortService } from "./paths.js";
import { Ago } from "./time.js";
import { dateOf } from "./timestamps.js";
import { useTitle } from "./use-title.js";

/** More dead letters than these are looked at less often. */
const many = 1_000;

const countOf = (groups: readonly DeadLetterGroup[]) =>
  groups.reduce((sum, { count }) => sum + Number(count), 0);

/** Calls that failed for good, by their errors. */
export function DeadLettersPage() {
  useTitle("Dead letters");
  const { query } = usePlace();
  const filter = { ...readFilter(query), states: ["failed"], group: "" };
  const { service, method, owner } = filter;
  const [asked, setAsked] = useState<{ act: BulkAct; filter: ListFilter; what: string }>();
  const { data, error } = useQuery({
    queryKey: ["groups", JSON.stringify(filter)],
    queryFn: ({ signal }) =>
      consoleClient.groupDeadLetters({ filter: { service, method, owner } }, { signal }),
    // Each look reads the headers of all of them.
    refetchInterval: ({ state }) => (countOf(state.data?.groups ?? []) > many ? 30_000 : 5_000),
    placeholderData: (last) => last,
  });
  const total = countOf(data?.groups ?? []);
  const lookedBackTo = dateOf(data?.lookedBackTo);
  const isFiltered = service !== "" || owner !== "";
  const ask = (act: BulkAct, group?: DeadLetterGroup) => {
    const which = group
      ? { ...filter, service: group.service, method: group.method, group: group.errorGroup }
      : filter;
    const what = group
      ? `${describeFilter({ ...which, group: "" })} that failed with ${group.code}: ${group.pattern}`
      : describeFilter(which);
    setAsked({ act, filter: which, what });
  };
  return (
    <>
      <div className="head">
        <h1>Dead letters</h1>
        <div className="acts">
          <ActButton ability={Ability.REPLAY} service={service} onAct={() => ask(BulkAct.REPLAY)}>
            Replay all…
          </ActButton>
          <ActButton ability={Ability.DISCARD} service={service} onAct={() => ask(BulkAct.DISCARD)}>
            Discard all…
          </ActButton>
        </div>
      </div>
      <search className="filters">
        <MethodSelect
          service={service}
          method={method}
          onChange={(service, method) =>
            goTo(pathWith("/dead-letters", { service, method, owner }), { replace: true })
          }
        />
        <p className="soft small">
          {data &&
            `${plural(total, "call")} failed for good, with ${plural(data.groups.length, "kind")} of error.`}
          {lookedBackTo && (
            <>
              {" "}
              Only the newest are grouped, back to <Ago at={lookedBackTo} />.
            </>
          )}
        </p>
      </search>
      <Failure error={error} />
      {data?.groups.length === 0 ? (
        <section className="card">
          <Empty title="No dead letters">
            {isFiltered
              ? "No call of this method has failed for good. Choose all methods to see those of others."
              : "No call has failed for good. One that does appears here, with its request, to be corrected and replayed."}
          </Empty>
        </section>
      ) : (
        <ul className="groups">
          {data?.groups.map((group) => (
            <li key={`${group.service}/${group.method}/${group.errorGroup}`} className="card">
              <Group group={group} ask={ask} />
            </li>
          ))}
          {!data && !error && (
            <li className="card" aria-busy="true">
              <Empty title="Looking for dead letters…" />
            </li>
          )}
        </ul>
      )}
      {asked && (
        <BulkDialog
          act={asked.act}
          filter={filterOf(asked.filter)}
          what={asked.what}
          onClose={() => setAsked(undefined)}
        />
      )}
    </>
  );
}

function Group({
  group,
  ask,
}: {
  group: DeadLetterGroup;
  ask: (act: BulkAct, group: DeadLetterGroup) => void;
}) {
  const { service, method, code, pattern, count, errorGroup, example } = group;
  const first = dateOf(group.firstAt);
  const last = dateOf(group.lastAt);
  const list = pathWith("/calls", { service, method, state: "failed", group: errorGroup });
  return (
    <article className="dead-group">
      <p className="count">
        <strong>{countText(count)}</strong>
      </p>
      <div>
        <h2>
          <span className="badge bad">{code}</span> {pattern || "no message"}
        </h2>
        <p className="soft small">
          {shortService(service)}.{method}
          {last && (
            <>
              , last <Ago at={last} />
            </>
          )}
          {first && last && count > 1 && (
            <>
              , first <Ago at={first} />
            </>
          )}
          {example?.name && (
            <>
              , the newest is{" "}
              <Link className="mono" href={callPath(example.name)}>
                {example.name.callId}
              </Link>
            </>
          )}
        </p>
      </div>
      <div className="acts">
        <Link className="button" href={list}>
          Show {countText(count)}
        </Link>
        <ActButton
          ability={Ability.REPLAY}
          service={service}
          onAct={() => ask(BulkAct.REPLAY, group)}
        >
          Replay…
        </ActButton>
        <ActButton
          ability={Ability.DISCARD}
          service={service}
          onAct={() => ask(BulkAct.DISCARD, group)}
        >
          Discard…
        </ActButton>
      </div>
    </article>
  );
}
