import { createClient, startWorker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { SpanKind } from "@opentelemetry/api";
import { expect, test } from "vitest";
import { postJson, useGateway } from "../../gateway/test/support.js";
import { TestService } from "../../runtime/test/gen/test/v1/test_pb.js";
import { collect, type TestClient, until } from "../../runtime/test/support.js";
import { connectGateway } from "../../web/src/index.js";
import { parentOf, useTelemetry } from "./recorded.js";

const { nats, gateway } = useGateway();
const recorded = useTelemetry();

const traceId = "0af7651916cd43dd8448eb211c80319c";
const spanId = "b7ad6b7169203331";
const trace = { traceparent: `00-${traceId}-${spanId}-01`, tracestate: "vendor=page" };
const service = "test.v1.TestService";

/** A call of a page, whose instrumentation of fetch() has added its trace. */
type PageCall = (url: string, client: TestClient) => Promise<unknown>;

const post =
  (path: string, body: object = {}, headers = {}): PageCall =>
  async (url) => {
    const response = await postJson(`${url}/${path}`, body, { ...trace, ...headers });
    expect(response.status, await response.text()).toBeLessThan(300);
  };

const any = { "@type": "type.googleapis.com/test.v1.Request" };

test.each<[name: string, last: string, call: PageCall]>([
  ["direct", `SERVER ${service}/Get`, post(`${service}/Get`)],
  ["durable", `CONSUMER process ${service}.queue.Do`, post(`${service}/Do`)],
  [
    "durable, not waited for",
    `CONSUMER process ${service}.queue.Do`,
    post(`${service}/Do`, {}, { Prefer: "respond-async" }),
  ],
  [
    "submitted by CallService",
    `CONSUMER process ${service}.queue.Do`,
    post("jetrpc.v1.CallService/Submit", { method: `${service}/Do`, request: any }),
  ],
  ["direct, of a web client", `SERVER ${service}/Get`, (_, client) => client.get({})],
  [
    "durable, of a web client",
    `CONSUMER process ${service}.queue.Do`,
    (_, client) => client.do({}),
  ],
  [
    "durable and streamed, of a web client",
    `CONSUMER process ${service}.queue.Count`,
    (_, client) => collect(client.count({ count: 2 })),
  ],
])("the trace of a page goes through the gateway: %s", async (_, last, call) => {
  const states: (string | null)[] = [];
  const say = (requestHeader: Headers) => {
    states.push(requestHeader.get("tracestate"));
    return {};
  };
  const connection = await nats.connect({ as: "worker", observer: recorded.observer() });
  await startWorker(
    TestService,
    {
      get: (_, { requestHeader }) => say(requestHeader),
      do: (_, { requestHeader }) => say(requestHeader),
      async *count(_, { requestHeader }) {
        yield say(requestHeader);
      },
    },
    connection,
    { drainTimeoutMs: 1_000 },
  );
  const toNats = (owner: string, observed: object) =>
    connect({ owner, nats: { servers: nats.server.url }, ...observed });
  const withTrace: typeof fetch = (input, init) => {
    const request = new Request(input, init);
    for (const [name, value] of Object.entries(trace)) {
      request.headers.set(name, value);
    }
    return fetch(request);
  };
  // Watched by the gateway as well, or by the worker alone.
  const observed = { observer: recorded.observer() };
  for (const [index, watched] of [{}, observed].entries()) {
    const { url } = await gateway({ connect: (owner) => toNats(owner, watched) });
    const page = connectGateway(url, { fetch: withTrace });
    await call(url, createClient<TestClient>(TestService, page));
    const nameOf = (span: { kind: SpanKind; name: string }) =>
      `${SpanKind[span.kind]} ${span.name}`;
    const handled = () => recorded.finished().filter((span) => nameOf(span) === last);
    await until(() => handled().length > index);
    const spans = recorded.finished();
    expect(new Set(spans.map((span) => span.spanContext().traceId))).toEqual(new Set([traceId]));
    // Up from what the worker did, to the page.
    const chain = [];
    let up = handled()[index];
    while (up) {
      chain.push(nameOf(up).split(" ")[0]);
      const above = parentOf(up);
      up = spans.find((span) => span.spanContext().spanId === above);
      if (!up) {
        expect(above).toBe(spanId);
      }
    }
    const [kind] = last.split(" ");
    const submitted = kind === "SERVER" ? [] : ["PRODUCER"];
    const isWaitedFor = spans.some((span) => span.kind === SpanKind.CLIENT);
    expect(chain).toEqual(
      index === 0 ? [kind] : [kind, ...submitted, ...(isWaitedFor ? ["CLIENT"] : [])],
    );
    await page.close();
  }
  expect(states).toEqual(["vendor=page", "vendor=page"]);
});

test("a page of another origin may send its trace", async () => {
  const { url } = await gateway({ cors: { origins: ["https://app.example"] } });
  const preflight = await fetch(`${url}/${service}/Get`, {
    method: "OPTIONS",
    headers: {
      Origin: "https://app.example",
      "Access-Control-Request-Method": "POST",
      "Access-Control-Request-Headers": "traceparent,tracestate",
    },
  });
  const allowed = preflight.headers.get("access-control-allow-headers")?.toLowerCase().split(", ");
  expect(allowed).toEqual(expect.arrayContaining(["traceparent", "tracestate"]));
});
