import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code, ConnectError, type Connection } from "@jetrpc/runtime";
import { connect, serve } from "@jetrpc/runtime/node";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { createGreetClient, type GreetClient, GreetService } from "../gen/greet/v1/index.js";
import { greeter } from "../src/greeter.js";

let server: NatsServer;
let connection: Connection;
let greet: GreetClient;

// A nats-server for this file. The first start on a machine may download it.
before(async () => {
  server = await startNats();
  connection = await connect({ nats: { servers: server.url } });
  await serve(GreetService, greeter, { connection, logger: false });
  greet = createGreetClient(connection);
});

after(async () => {
  await connection?.close();
  await server?.stop();
});

test("says hello", async () => {
  const { greeting } = await greet.hello({ name: "Ada" });
  assert.equal(greeting, "Hello, Ada!");
});

test("writes a letter, and keeps it", async () => {
  const call = await greet.letter.submit({ name: "Ada" }, { callId: "letter-1" });
  const { letter } = await call.result();
  assert.match(letter, /^Dear Ada/);

  const again = await greet.letter.attach("letter-1").result();
  assert.equal(again.letter, letter);
});

test("a letter to nobody fails", async () => {
  await assert.rejects(
    greet.letter({ name: "" }),
    (error) => error instanceof ConnectError && error.code === Code.InvalidArgument,
  );
});
