import { useQuery } from "@tanstack/react-query";
import {
  type Drift,
  DriftKind,
  type ServiceInfrastructure,
  type Stream,
} from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { consoleClient } from "./console-client.js";
import { Empty } from "./empty.js";
import { Failure } from "./failure.js";
import { countText, sizeText } from "./format.js";
import { serverText } from "./server-text.js";
import { useSession } from "./session.js";
import { Ago } from "./time.js";
import { dateOf } from "./timestamps.js";
import { useTitle } from "./use-title.js";

/** The streams of the services, and how they differ from the schema. */
export function InfrastructurePage() {
  useTitle("Infrastructure");
  const { server } = useSession();
  const { data, error } = useQuery({
    queryKey: ["infrastructure"],
    queryFn: ({ signal }) => consoleClient.getInfrastructure({}, { signal }),
    refetchInterval: 10_000,
  });
  return (
    <>
      <div className="head">
        <h1>Infrastructure</h1>
        {server && (
          <p className="soft small">
            {serverText(server.name) || server.address}, NATS {server.version}
            {server.cluster && `, cluster ${server.cluster}`}
            {server.domain && `, domain ${server.domain}`}
          </p>
        )}
      </div>
      <Failure error={error} />
      {data?.services.length === 0 && (
        <section className="card">
          <Empty title="No services are known">
            Start a worker, or name the schema with <code>--descriptors</code>.
          </Empty>
        </section>
      )}
      {data?.services.map((each) => (
        <OneService key={each.service} infrastructure={each} />
      ))}
      {!data && !error && (
        <section className="card" aria-busy="true">
          <Empty title="Looking at the streams…" />
        </section>
      )}
    </>
  );
}

function OneService({
  infrastructure: { service, streams, drift, problem },
}: {
  infrastructure: ServiceInfrastructure;
}) {
  return (
    <section className="card" aria-label={service}>
      <header>
        <h2>{service}</h2>
        {!problem &&
          (drift.length === 0 ? (
            <span className="badge good">As the schema says</span>
          ) : (
            <span className="badge warn">Differs from the schema</span>
          ))}
      </header>
      {problem && <p className="in warn-text">{problem}</p>}
      {drift.length > 0 && (
        <div className="in">
          <p className="soft small">
            <code>jetrpc apply</code> makes the server as the schema says. It would do this:
          </p>
          <ul className="drift">
            {drift.map((each) => (
              <OneDrift key={each.what} drift={each} />
            ))}
          </ul>
        </div>
      )}
      {streams.length > 0 && <Streams streams={streams} />}
    </section>
  );
}

const kinds: Record<number, [mark: string, text: string, tone: string]> = {
  [DriftKind.CREATE]: ["+", "create", "good"],
  [DriftKind.CHANGE]: ["~", "change", "warn"],
  [DriftKind.DESTRUCTIVE]: ["!", "destructive", "bad"],
  [DriftKind.IMPOSSIBLE]: ["x", "impossible", "bad"],
};

function OneDrift({ drift: { kind, what, differences, reasons } }: { drift: Drift }) {
  const [mark, text, tone] = kinds[kind] ?? ["", "", ""];
  return (
    <li>
      <p>
        <span className={`badge ${tone}`}>
          {mark} {text}
        </span>{" "}
        <span className="mono">{what}</span>
      </p>
      {differences.map(({ field, from, to }) => (
        <p key={field} className="mono detail">
          {field}: {from} → {to}
        </p>
      ))}
      {reasons.map((reason) => (
        <p key={reason} className="detail small soft">
          {reason}
        </p>
      ))}
    </li>
  );
}

function Streams({ streams }: { streams: readonly Stream[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls by the keyboard, too
    <section className="scroll" tabIndex={0} aria-label="Streams and what they hold">
      <table>
        <thead>
          <tr>
            <th scope="col">Stream</th>
            <th scope="col">For</th>
            <th scope="col" className="number">
              Messages
            </th>
            <th scope="col" className="number">
              Size
            </th>
            <th scope="col">Oldest</th>
            <th scope="col">Newest</th>
            <th scope="col" className="number">
              Consumers
            </th>
            <th scope="col">Storage</th>
            <th scope="col">Leader</th>
          </tr>
        </thead>
        <tbody>
          {streams.map((stream) => (
            <StreamRow key={stream.name} stream={stream} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function StreamRow({ stream }: { stream: Stream }) {
  const { name, purpose, exists, messages, bytes, maxBytes, consumers, storage, replicas } = stream;
  const first = dateOf(stream.firstAt);
  const last = dateOf(stream.lastAt);
  if (!exists) {
    return (
      <tr>
        <td className="mono">{name}</td>
        <td>{purpose}</td>
        <td colSpan={7} className="warn-text">
          absent: <code>jetrpc apply</code> makes it
        </td>
      </tr>
    );
  }
  return (
    <tr>
      <td className="mono">{name}</td>
      <td>{purpose}</td>
      <td className="number">{countText(messages)}</td>
      <td className="number nowrap">
        {sizeText(bytes)}
        {maxBytes > 0 && <span className="soft"> of {sizeText(maxBytes)}</span>}
      </td>
      <td className="small nowrap">
        {first ? <Ago at={first} /> : <span className="zero">–</span>}
      </td>
      <td className="small nowrap">{last ? <Ago at={last} /> : <span className="zero">–</span>}</td>
      <td className="number">{consumers}</td>
      <td className="nowrap">
        {storage}
        {replicas > 1 && `, ${replicas} copies`}
      </td>
      <td title={stream.leader}>
        {stream.leader ? serverText(stream.leader) : <span className="zero">–</span>}
      </td>
    </tr>
  );
}
