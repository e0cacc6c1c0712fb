import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { create, type DescMessage, toBinary } from "@bufbuild/protobuf";
import {
  blobOf,
  Code,
  ConnectError,
  type Connection,
  createClient,
  type DurableServerStreamingMethod,
  type DurableUnaryMethod,
  startWorker,
} from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { planService } from "@jetrpc/runtime/operator";
import { bindService } from "@jetrpc/runtime/schema";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { serviceOf } from "../packages/cli/test/support.js";

const top = join(import.meta.dirname, "..");
const command = join(top, "packages/cli/bin/jetrpc.js");

/** An invoice number, an address that may be wrong, and what is on the bill. */
interface Invoice {
  number: string;
  customer: string;
  email: string;
  lines: { text: string; cents: bigint }[];
}

const proto = `syntax = "proto3";
package billing.v1;
import "jetrpc/v1/blob.proto";
import "jetrpc/v1/options.proto";
service InvoiceService {
  option (jetrpc.v1.service) = {stream: "BILLING"};
  rpc SendInvoice(SendInvoiceRequest) returns (SendInvoiceResponse);
  rpc PrintStatements(PrintStatementsRequest) returns (stream PrintStatementsResponse);
  rpc Total(TotalRequest) returns (TotalResponse) {
    option idempotency_level = NO_SIDE_EFFECTS;
  }
}
message Line {
  string text = 1;
  int64 cents = 2;
}
message SendInvoiceRequest {
  string number = 1;
  string customer = 2;
  string email = 3;
  repeated Line lines = 4;
}
message SendInvoiceResponse {
  string receipt = 1;
  jetrpc.v1.Blob document = 2;
}
message PrintStatementsRequest {
  int32 month = 1;
  int32 pages = 2;
}
message PrintStatementsResponse {
  int32 page = 1;
  string text = 2;
}
message TotalRequest {
  repeated Line lines = 1;
}
message TotalResponse {
  int64 cents = 1;
}
`;

type InvoiceClient = {
  sendInvoice: DurableUnaryMethod<DescMessage, DescMessage>;
  printStatements: DurableServerStreamingMethod<DescMessage, DescMessage>;
};

/** A company that sends invoices: a server, a worker, clients, and a console to look at them. */
export class Billing implements AsyncDisposable {
  private readonly open: (() => unknown)[] = [];
  /** Ends handlers that wait. */
  release: () => void = () => undefined;
  private readonly held = new Promise<void>((resolve) => {
    this.release = resolve;
  });

  private constructor(
    readonly nats: NatsServer,
    readonly image: string,
    private readonly connection: Connection | undefined,
    /** Credentials of who looks; empty on a server without users. */
    readonly users: Readonly<Record<string, Record<string, string>>>,
    folder: string,
  ) {
    this.open.push(() => rmSync(folder, { recursive: true, force: true }));
  }

  /** Starts the server and makes the streams; with `users`, of least privilege, by their roles. */
  static async start({ withUsers = false } = {}): Promise<Billing> {
    const folder = mkdtempSync(join(tmpdir(), "jetrpc-console-"));
    mkdirSync(join(folder, "proto/billing/v1"), { recursive: true });
    cpSync(join(top, "proto/jetrpc"), join(folder, "proto/jetrpc"), { recursive: true });
    writeFileSync(join(folder, "buf.yaml"), "version: v2\nmodules:\n  - path: proto\n");
    writeFileSync(join(folder, "proto/billing/v1/billing.proto"), proto);
    const image = join(folder, "image.binpb");
    execFileSync(join(top, "node_modules/.bin/buf"), ["build", "-o", image], { cwd: folder });
    let config: string | undefined;
    const users: Record<string, Record<string, string>> = {};
    if (withUsers) {
      const file = join(folder, "users.json");
      const roles = { admin: "administrator", eye: "observer" };
      const entries = Object.entries(roles).map(([name, role]) => [name, [{ role }]]);
      writeFileSync(file, JSON.stringify({ BILLING: Object.fromEntries(entries) }));
      const args = ["permissions", "--descriptors", image, "--users", file, "--keys", folder];
      config = execFileSync(process.execPath, [command, ...args], { encoding: "utf8" });
      for (const name of Object.keys(roles)) {
        const lines = readFileSync(join(folder, `${name}.env`), "utf8")
          .trim()
          .split("\n");
        users[name] = Object.fromEntries(lines.map((line) => line.split("=", 2)));
      }
    }
    const nats = await startNats({ config });
    if (users["admin"]) {
      const env = { PATH: process.env["PATH"], ...users["admin"], NATS_URL: nats.url };
      execFileSync(process.execPath, [command, "apply", "--descriptors", image], { env });
    }
    const connection = withUsers ? undefined : await connect({ nats: { servers: nats.url } });
    const billing = new Billing(nats, image, connection, users, folder);
    billing.open.push(
      () => nats.stop(),
      () => connection?.close(),
    );
    return billing;
  }

  get service() {
    return serviceOf(this.image, "billing.v1.InvoiceService");
  }

  get client(): InvoiceClient {
    return createClient<InvoiceClient>(this.service, this.connection as Connection);
  }

  /** Stores requests of SendInvoice as clients would, in a fraction of the time. */
  async storeRequests(count: number, request: object): Promise<void> {
    const connection = this.connection as Connection;
    await (await planService(connection, this.service)).apply();
    const { prefix } = bindService(this.service);
    const schema = this.service.method["sendInvoice"]?.input as DescMessage;
    const payload = toBinary(schema, create(schema, request as never));
    const { nats } = connection;
    for (let from = 0; from < count; from += 1_000) {
      for (let n = from + 1; n < from + 1_000; n++) {
        nats.publish(`${prefix}.queue.SendInvoice._._.n-${n}`, payload);
      }
      // Answered when all before it are stored.
      await nats.request(`${prefix}.queue.SendInvoice._._.n-${from}`, payload, { timeout: 60_000 });
    }
  }

  /** Starts a worker, whose address book is strict. */
  async startWorker(): Promise<void> {
    const { held } = this;
    const impl = {
      async sendInvoice(
        { number, customer, email, lines }: Invoice,
        context: { attempt: number; signal: AbortSignal },
      ) {
        if (!email.includes("@")) {
          throw new ConnectError(
            `invoice ${number}: the address "${email}" has no @`,
            Code.InvalidArgument,
          );
        }
        if (customer === "Unlucky Ltd") {
          throw new TypeError(`Cannot read properties of undefined (reading 'cents')`);
        }
        if (customer === "Busy Ltd" && context.attempt < 3) {
          throw new ConnectError("the mail server is busy", Code.Unavailable);
        }
        if (customer === "Slow Ltd") {
          await Promise.race([held, once(context.signal, "abort")]);
        }
        const sum = lines.reduce((all, { cents }) => all + cents, 0n);
        return {
          receipt: `sent to ${email}`,
          document: blobOf(new TextEncoder().encode(`Invoice ${number}: ${sum}`), {
            fileName: `invoice-${number}.txt`,
            contentType: "text/plain",
          }),
        };
      },
      async *printStatements(
        { pages }: { pages: number },
        context: { progress(report: object): void; signal: AbortSignal },
      ) {
        for (let page = 1; page <= pages; page++) {
          context.progress({ done: page, total: pages, message: "printing" });
          yield { page, text: `statement ${page}` };
          if (page === Math.ceil(pages / 2)) {
            await Promise.race([held, once(context.signal, "abort")]);
          }
        }
      },
      total: ({ lines }: Invoice) => ({
        cents: lines.reduce((all, { cents }) => all + cents, 0n),
      }),
    };
    const connection = await connect({ nats: { servers: this.nats.url } });
    const worker = await startWorker(this.service, impl as never, connection, {
      version: "1.4.2",
      logger: false,
    } as never);
    this.open.push(
      () => connection.close(),
      () => {
        this.release();
        return worker.drain();
      },
    );
  }

  /** Starts `jetrpc console`. */
  async startConsole(args: string[] = [], user = ""): Promise<ConsoleProcess> {
    const env = { ...this.users[user], NATS_URL: this.nats.url };
    const console = new ConsoleProcess(
      await freePort(),
      ["--descriptors", this.image, ...args],
      env,
    );
    this.open.push(() => console.kill());
    await console.start();
    return console;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.open.splice(0).reverse()) {
      await close();
    }
  }
}

/** `jetrpc console` as a process, which can be killed and started again. */
export class ConsoleProcess {
  private child: ChildProcess | undefined;
  /** With a token that works once; without a login. */
  address = "";

  constructor(
    private readonly port: number,
    private readonly args: readonly string[],
    private readonly env: Readonly<Record<string, string>>,
  ) {}

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const args = [command, "console", "--port", String(this.port), "--json", ...this.args];
    const child = spawn(process.execPath, args, {
      cwd: tmpdir(),
      env: { PATH: process.env["PATH"], ...this.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child = child;
    let errors = "";
    child.stderr.on("data", (chunk) => {
      errors += chunk;
    });
    for await (const line of createInterface({ input: child.stdout })) {
      const { address } = JSON.parse(line) as { address?: string };
      if (address) {
        this.address = address;
        // The rest is read, so that the pipe does not fill.
        child.stdout.resume();
        return;
      }
    }
    throw new Error(`jetrpc console has ended: ${errors}`);
  }

  async kill(): Promise<void> {
    const { child } = this;
    if (child && child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  }
}

/** Makes a token for a console, and its line for the file of `--tokens`. */
export function consoleToken(name: string, role: string): { token: string; entry: object } {
  const args = [command, "console", "token", "--name", name, "--role", role, "--json"];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" }));
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
