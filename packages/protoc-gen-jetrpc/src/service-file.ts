import type { DescFile, DescMethod, DescService } from "@bufbuild/protobuf";
import type { GeneratedFile, Printable, Schema } from "@bufbuild/protoplugin";
import { bindService, type MethodBinding } from "@jetrpc/runtime";
import type { ServiceNames } from "./names.js";
import { hasStreams } from "./problems.js";

const runtime = "@jetrpc/runtime";

/**
 * A name that stands for something else than what is imported: a global, a
 * parameter. An import of the same name gets an alias then.
 */
type Local = (name: string) => Printable;

/** Generates `<file>_jetrpc.ts`: bindings, worker interface and client of each service. */
export function generateServices(
  schema: Schema,
  file: DescFile,
  names: ReadonlyMap<DescService, ServiceNames>,
): void {
  if (file.services.length === 0) {
    return;
  }
  const f = schema.generateFile(`${file.name}_jetrpc.ts`);
  const local: Local = (name) => f.import(name, `./${file.name}_jetrpc.js`);
  f.preamble(file);
  for (const service of file.services) {
    const its = names.get(service);
    if (its) {
      printBinding(f, service, its);
      printWorker(f, service, its, local);
      printClient(f, service, its, local);
    }
  }
}

function printBinding(f: GeneratedFile, service: DescService, names: ServiceNames): void {
  const binding = bindService(service);
  f.print(f.jsDoc(`Where ${service.typeName} lies on NATS.`));
  f.print(f.export("const", names.binding), " = {");
  const print = (indent: string, name: string, value: string) =>
    f.print(indent, name, ": ", f.string(value), ",");
  print("  ", "prefix", binding.prefix);
  if (hasStreams(binding)) {
    print("  ", "stream", binding.stream);
    print("  ", "logStream", binding.logStream);
    print("  ", "payloadBucket", binding.payloadBucket);
  }
  f.print("  methods: {");
  for (const [name, method] of binding.methods) {
    f.print("    ", name, ": {");
    print("      ", "delivery", method.delivery);
    if (method.delivery === "direct") {
      print("      ", "subject", method.directSubject);
    } else {
      print("      ", "queueSubject", method.queueSubject);
      print("      ", "logSubject", method.logSubject);
      print("      ", "liveSubject", method.liveSubject);
      print("      ", "consumer", method.consumer);
    }
    f.print("    },");
  }
  f.print("  },");
  f.print("} as const;");
  f.print();
}

function printWorker(
  f: GeneratedFile,
  service: DescService,
  names: ServiceNames,
  local: Local,
): void {
  f.print(f.jsDoc(service));
  f.print(f.export("interface", names.worker), " {");
  for (const [index, method] of [...bindService(service).methods.values()].entries()) {
    separate(f, index);
    const { desc } = method;
    const context = f.import(
      method.delivery === "durable" ? "DurableHandlerContext" : "HandlerContext",
      runtime,
      true,
    );
    f.print(f.jsDoc(desc, "  "));
    f.print(
      ...[
        "  ",
        // Bare, it would make the interface a constructor.
        desc.localName === "new" ? '"new"' : desc.localName,
        "(",
        ...requestParameter(f, desc, local),
        ", context: ",
        context,
        "): ",
      ],
      ...responseType(f, desc, local),
      ";",
    );
  }
  f.print("}");
  f.print();
}

function requestParameter(f: GeneratedFile, desc: DescMethod, local: Local): Printable[] {
  const request = f.importShape(desc.input);
  return streamsRequests(desc)
    ? ["requests: ", local("AsyncIterable"), "<", request, ">"]
    : ["request: ", request];
}

function responseType(f: GeneratedFile, desc: DescMethod, local: Local): Printable[] {
  const init = f.import("MessageInitShape", "@bufbuild/protobuf", true);
  const response: Printable[] = [init, "<typeof ", f.importSchema(desc.output, true), ">"];
  if (desc.methodKind === "server_streaming" || desc.methodKind === "bidi_streaming") {
    return [local("AsyncIterable"), "<", ...response, ">"];
  }
  const promise = [local("Promise"), "<", ...response, ">"];
  return desc.methodKind === "unary" ? [...promise, " | ", ...response] : promise;
}

function streamsRequests(desc: DescMethod): boolean {
  return desc.methodKind === "client_streaming" || desc.methodKind === "bidi_streaming";
}

function printClient(
  f: GeneratedFile,
  service: DescService,
  names: ServiceNames,
  local: Local,
): void {
  const createClient = f.import("createClient", runtime);
  const connection = f.import("Connection", runtime, true);
  f.print(f.jsDoc(service));
  f.print(f.export("interface", names.client), " {");
  for (const [index, method] of [...bindService(service).methods.values()].entries()) {
    separate(f, index);
    const { desc } = method;
    f.print(f.jsDoc(desc, "  "));
    f.print(
      ...["  readonly ", desc.localName, ": ", f.import(methodType(method), runtime, true)],
      ...["<typeof ", f.importSchema(desc.input, true)],
      ...[", typeof ", f.importSchema(desc.output, true), ">;"],
    );
  }
  f.print("}");
  f.print();
  const deprecated = service.deprecated || service.file.deprecated ? "\n\n@deprecated" : "";
  f.print(f.jsDoc(`Makes a client of ${service.typeName}.${deprecated}`));
  f.print(
    ...[
      f.export("function", names.createClient),
      "(",
      local("connection"),
      ": ",
      connection,
      "): ",
    ],
    ...[names.client, " {"],
  );
  f.print(
    ...["  return ", createClient, "<", names.client, ">(", f.importSchema(service)],
    ...[", ", local("connection"), ");"],
  );
  f.print("}");
  f.print();
}

function methodType(method: MethodBinding): string {
  const durable = method.delivery === "durable" ? "Durable" : "";
  switch (method.desc.methodKind) {
    case "unary":
      return `${durable}UnaryMethod`;
    case "server_streaming":
      return `${durable}ServerStreamingMethod`;
    case "client_streaming":
      return "ClientStreamingMethod";
    case "bidi_streaming":
      return "BidiStreamingMethod";
  }
}

function separate(f: GeneratedFile, index: number): void {
  if (index > 0) {
    f.print();
  }
}
