// A bundle of this program calls durable methods while the file of their code is away.
import { readdirSync, renameSync } from "node:fs";
import { createClient, mayHaveRun } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { TestService } from "./gen/test/v1/test_pb.js";

const file = readdirSync(import.meta.dirname).find((name) => name.startsWith("durable-transport"));
const path = `${import.meta.dirname}/${file}`;
const connection = await connect();
renameSync(path, `${path}.away`);
const client = createClient(TestService, connection);
const outcomeOf = (promise) =>
  promise.then(
    () => "done",
    (error) => `${error.rawMessage} ${error.code} ${mayHaveRun(error)}`,
  );
const all = async (iterable) => {
  for await (const _ of iterable) {
    // Only its end counts.
  }
};
const attempts = () => ({
  call: outcomeOf(client.do({})),
  stream: outcomeOf(all(client.count({}))),
  submit: outcomeOf(client.do.submit({}, { callId: "late" })),
  submitAll: outcomeOf(all(client.do.submitAll([{}]))),
  result: outcomeOf(client.do.attach("late").result()),
  messages: outcomeOf(all(client.count.attach("late").messages())),
  progress: outcomeOf(all(client.do.attach("late").progress())),
  status: outcomeOf(client.do.attach("late").status()),
  cancel: outcomeOf(client.do.attach("late").cancel()),
});
const abort = AbortSignal.abort();
const canceled = await outcomeOf(client.do({}, { signal: abort }));
const away = {};
for (const [name, outcome] of Object.entries(attempts())) {
  away[name] = await outcome;
}
renameSync(`${path}.away`, path);
const back = await outcomeOf(client.do.submit({}, { callId: "late" }));
console.log(JSON.stringify({ canceled, away, back }));
await connection.close();
