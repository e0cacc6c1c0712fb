import { once } from "node:events";
import { Command } from "commander";
import { askedToEnd } from "../asked-to-end.js";
import { UsageError } from "../exit-code.js";
import { findMethodNamed } from "../find-method.js";
import {
  addGatewayOptions,
  type GatewayArguments,
  gatewayOptions,
  gatewaySecrets,
  isCallable,
  isOwner,
  loadGateway,
} from "../gateway-options.js";
import { environment, onHost } from "../host.js";
import { addressOf } from "../listen-address.js";
import { print, printJson, printLog } from "../output.js";
import { descriptorsOf, loadSchema } from "../schema.js";
import { addSessionOptions, collect, open, type SessionOptions } from "../session.js";

interface Options extends SessionOptions, GatewayArguments {
  listen: string;
}

interface TokenOptions extends SessionOptions {
  owner: string;
  method?: string[];
}

/** `jetrpc gateway`: an HTTP server in front of NATS. */
export function gatewayCommand(): Command {
  const command = addSessionOptions(
    addGatewayOptions(
      new Command("gateway")
        .description("serve services over HTTP: Connect, gRPC, gRPC-Web and JSON")
        .option("--listen <address>", "where it listens; port 0 for any", "127.0.0.1:8080"),
    ),
  ).action(gateway);
  return command.addCommand(
    new Command("token")
      .description("make a token for a client, and its line for the file of --tokens")
      .requiredOption("--owner <name>", "whose durable calls the client's are")
      .option("--method <name>", "service or method that it may call; repeatable", collect)
      // --json and --descriptors are options of the command above.
      .action((_options, command: Command) => token(command.optsWithGlobals())),
  );
}

async function gateway(options: Options): Promise<void> {
  const address = addressOf(options.listen);
  // Without a schema that is named, the workers tell.
  const isNamed = await descriptorsOf(options);
  if (!isNamed && options.service) {
    throw new UsageError("--service needs the schema: name an image with --descriptors FILE");
  }
  const services = isNamed ? (await loadSchema(options)).services : undefined;
  const given = await gatewayOptions(options, await environment());
  const { startGateway, isLoopback } = await loadGateway();
  if (given.authenticate === undefined && !isLoopback(address.host)) {
    throw new UsageError(
      `--listen ${options.listen} is reached from other machines: say who may call, by --tokens, --jwks, ${gatewaySecrets}`,
    );
  }
  const running = await startGateway({
    ...given,
    ...address,
    services,
    connect: onHost((owner) => open(options, owner)),
    log: onHost((message) => printLog(message, options.json)),
  });
  if (options.json) {
    printJson({ url: running.url });
  } else {
    print(`the gateway is at ${running.url}`);
  }
  await once(askedToEnd(), "abort");
  await running.drain();
}

async function token(options: TokenOptions): Promise<void> {
  const { owner, json } = options;
  if (!isOwner(owner)) {
    throw new UsageError(
      `--owner ${owner} must be 1 to 128 letters, digits or any of _ = + @ : -: no call could be made with the token`,
    );
  }
  const methods = await callableOf(options);
  const { createApiToken, hashApiToken } = await loadGateway();
  const made = createApiToken();
  const entry = { sha256: hashApiToken(made), owner, ...(methods && { methods }) };
  if (json) {
    printJson({ token: made, entry });
    return;
  }
  print(`the client gets, once:  ${made}`);
  print(`the file of --tokens:   ${JSON.stringify(entry)}`);
}

/** What `--method` names, in full where a schema is named. Throws UsageError for what nobody could call. */
async function callableOf(options: TokenOptions): Promise<string[] | undefined> {
  const wrong = options.method?.find((name) => !isCallable(name));
  if (wrong !== undefined) {
    throw new UsageError(
      `--method ${wrong} is no service and no method: write one like pdf.v1.PdfService, or pdf.v1.PdfService/Split`,
    );
  }
  if (options.method === undefined || (await descriptorsOf(options)) === undefined) {
    return options.method;
  }
  const { services } = await loadSchema(options, { anyService: true });
  const all = services.flatMap((service) => service.methods);
  return options.method.map((name) => {
    if (services.some(({ typeName }) => typeName === name)) {
      return name;
    }
    const { parent, name: own } = findMethodNamed(all, name, "service or method");
    return `${parent.typeName}/${own}`;
  });
}
