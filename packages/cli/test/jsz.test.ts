import { expect, test } from "vitest";
import { collectJetStream } from "../src/metrics/jsz.js";
import { Samples } from "../src/metrics/samples.js";

const sequences = { consumer_seq: 1, stream_seq: 1 };

/** What a server tells that has one stream with so many consumers. */
async function pageOf(count: number): Promise<string> {
  const samples = new Samples();
  const consumer_detail = Array.from({ length: count }, (_, index) => ({
    name: `c"${index}\\`,
    ts: "2026-01-01T00:00:00Z",
    config: { durable_name: `c"${index}\\` },
    ...{ delivered: sequences, ack_floor: sequences },
    ...{ num_ack_pending: 0, num_redelivered: 0, num_waiting: 0, num_pending: 7 },
  }));
  const stream = { name: "S", state: { messages: 5 }, consumer_detail };
  const account_details = [{ name: "A", stream_detail: [stream] }];
  collectJetStream({ account_details }, "n1", samples);
  return await samples.text("prometheus");
}

test("names of consumers are written as Prometheus reads them", async () => {
  const page = await pageOf(2);
  expect(page).toContain(String.raw`consumer_name="c\"1\\"`);
  expect(page).toMatch(/^jetrpc_consumers_left_out\{server_id="n1"\} 0$/m);
});

test("more consumers than a page can have are counted, and all else is told", async () => {
  const page = await pageOf(2_001);
  expect(page).not.toContain("jetstream_consumer_num_pending{");
  expect(page).toMatch(/^jetrpc_consumers_left_out\{server_id="n1"\} 2001$/m);
  expect(page).toMatch(/^jetstream_stream_total_messages\{.*stream_name="S".*\} 5$/m);
});

test("copies have the domain of their server: another one may have a stream of the same name", async () => {
  const samples = new Samples();
  const cluster = { leader: "n1", replicas: [{ name: "n2", current: true }] };
  const stream = { name: "S", state: {}, cluster };
  const config = { domain: "hub" };
  const account_details = [{ name: "A", stream_detail: [stream] }];
  collectJetStream({ config, meta_cluster: cluster, account_details }, "n1", samples);
  const page = await samples.text("prometheus");
  const current = page.split("\n").filter((line) => line.startsWith("jetrpc_replica_current{"));
  expect(current).toEqual([
    'jetrpc_replica_current{server_id="n1",domain="hub",account="",stream_name="",replica="n2"} 1',
    'jetrpc_replica_current{server_id="n1",domain="hub",account="A",stream_name="S",replica="n2"} 1',
  ]);
});
