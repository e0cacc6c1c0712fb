import { connect } from "@jetrpc/runtime/node";
import { createGreetClient } from "../gen/greet/v1/index.js";

const name = process.argv[2] ?? "Ada";
const connection = await connect();
const greet = createGreetClient(connection);

const { greeting } = await greet.hello({ name });
console.log(greeting);

const call = await greet.letter.submit({ name });
console.log(`call ${call.id} is stored`);
for await (const { done, total } of call.progress()) {
  console.log(`${done} of ${total}`);
}
const { letter } = await call.result();
console.log(letter);

await connection.close();
