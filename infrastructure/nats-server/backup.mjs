// node backup.mjs save FOLDER     writes every stream into FOLDER
// node backup.mjs restore FOLDER  makes the streams of FOLDER again
//
// Connects as apps do, by NATS_URL and the rest or .env, and uses the server's own
// snapshots: they are taken while it runs, consumers and all, of one server or of a
// cluster. A stream that exists already is not touched: restore fails and says so.
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@jetrpc/runtime/node";

const chunkSize = 128 * 1024;
/** How long the server may say nothing, in ms. */
const silenceMs = 30_000;

async function ask(nats, subject, request = {}) {
  const reply = await nats.request(subject, JSON.stringify(request), { timeout: silenceMs });
  const answer = reply.json();
  if (answer.error) {
    throw new Error(`${subject}: ${answer.error.description}`);
  }
  return answer;
}

async function streamNames(nats) {
  const names = [];
  for (;;) {
    const { streams, total } = await ask(nats, "$JS.API.STREAM.NAMES", { offset: names.length });
    names.push(...(streams ?? []));
    if (!streams?.length || names.length >= total) {
      return names;
    }
  }
}

async function save(nats, folder) {
  await mkdir(folder, { recursive: true });
  for (const name of await streamNames(nats)) {
    const inbox = `${nats.options.inboxPrefix ?? "_INBOX"}.backup.${crypto.randomUUID()}`;
    const chunks = nats.subscribe(inbox);
    const request = { deliver_subject: inbox, chunk_size: chunkSize, jsck: true };
    const { config, state } = await ask(nats, `$JS.API.STREAM.SNAPSHOT.${name}`, request);
    const file = createWriteStream(join(folder, `${name}.snapshot`), { mode: 0o600 });
    const silence = setTimeout(() => chunks.unsubscribe(), silenceMs);
    let isWhole = false;
    for await (const chunk of chunks) {
      silence.refresh();
      if (chunk.data.length === 0) {
        // The last one says how it ended: nothing is well.
        isWhole = !chunk.headers?.code || chunk.headers.code === 204;
        break;
      }
      if (!file.write(chunk.data)) {
        await once(file, "drain");
      }
      chunk.respond();
    }
    clearTimeout(silence);
    file.end();
    await once(file, "close");
    if (!isWhole) {
      throw new Error(`the snapshot of ${name} broke off`);
    }
    // Last: without it the snapshot does not count.
    await writeFile(join(folder, `${name}.json`), JSON.stringify({ config, state }), {
      mode: 0o600,
    });
    console.log(`${name}: ${state.messages} messages`);
  }
}

async function restore(nats, folder) {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".json"));
  for (const name of names.map((file) => file.slice(0, -".json".length))) {
    const saved = JSON.parse(await readFile(join(folder, `${name}.json`), "utf8"));
    const subject = `$JS.API.STREAM.RESTORE.${name}`;
    const { deliver_subject: target } = await ask(nats, subject, saved);
    const file = createReadStream(join(folder, `${name}.snapshot`), { highWaterMark: chunkSize });
    for await (const chunk of file) {
      const reply = await nats.request(target, chunk, { timeout: silenceMs });
      if (reply.data.length > 0 && reply.json().error) {
        throw new Error(`${name}: ${reply.json().error.description}`);
      }
    }
    const end = (await nats.request(target, undefined, { timeout: silenceMs })).json();
    if (end.error) {
      throw new Error(`${name}: ${end.error.description}`);
    }
    console.log(`${name}: ${end.state.messages} messages`);
  }
}

const [verb, folder] = process.argv.slice(2);
const act = { save, restore }[verb];
if (!act || !folder) {
  console.error("node backup.mjs save|restore FOLDER");
  process.exit(2);
}
const connection = await connect().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
try {
  await act(connection.nats, folder);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await connection.close();
}
