import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Code } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { expect, test } from "vitest";

const path = join(import.meta.dirname, "../infrastructure/nats-server/nats-server.conf");

test("the server's configuration works, and asks for its token", async () => {
  // Everything but the addresses, which are the test's own.
  const config = readFileSync(path, "utf8")
    .replace(/^(listen|http):.*$/gm, "")
    .replaceAll("$NATS_TOKEN", "s3cret")
    .replace(/^\s*store_dir:.*$/m, "");
  await using server = await startNats({ config });
  const connection = await connect({ nats: { servers: server.url, token: "s3cret" } });
  const account = (await connection.nats.request("$JS.API.INFO")).json();
  expect(account).toMatchObject({ type: "io.nats.jetstream.api.v1.account_info_response" });
  expect(account).not.toHaveProperty("error");
  await connection.close();
  await expect(connect({ nats: { servers: server.url } })).rejects.toMatchObject({
    code: Code.Unauthenticated,
  });
});
