import type { DescFile, DescMethod, DescService } from "@bufbuild/protobuf";
import type { GeneratedFile, Printable, Schema } from "@bufbuild/protoplugin";
import { bindService, type MethodBinding } from "@jetrpc/runtime/schema";
import type { ServiceNames } from "./names.js";

const runtime = "@jetrpc/runtime";

/**
 * A name that stands for something else than what is imported: a global, a
 * parameter. An import of the same name gets an alias then.
 */
type Local = (name: string) => Printable;

/** Generates `<file>_jetrpc.ts`: worker interface, descriptor and client of each service. */
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
      printWorker(f, service, its, local);
      printService(f, service, its);
      printClient(f, service, its, local);
    }
  }
}

/** The descriptor again, with the interface of its workers in its type. */
function printService(f: GeneratedFile, service: DescService, names: ServiceNames): void {
  const descriptor = f.importSchema(service);
  f.print(f.jsDoc(service));
  f.print(
    ...[f.export("const", descriptor.name), ": ", f.import("GeneratedService", runtime, true)],
    ...["<typeof ", descriptor, ", ", names.worker, "> = ", descriptor, ";"],
  );
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
  const connection = f.import("ClientConnection", runtime, true);
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
