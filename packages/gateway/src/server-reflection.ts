import { type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type {
  ServerReflection,
  ServerReflectionRequest,
  ServerReflectionResponseSchema,
} from "./gen/grpc/reflection/v1/reflection_pb.js";
import { visibleFiles } from "./visible-files.js";
import type { VisibleService } from "./visible-services.js";

type Answer = NonNullable<
  MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]
>;

/** Shows the schema of services to gRPC clients, as far as whoever asks may call them. */
export function serverReflection(
  visible: (context: HandlerContext) => Promise<readonly VisibleService[]>,
): ServiceImpl<typeof ServerReflection> {
  return {
    async *serverReflectionInfo(requests, context) {
      for await (const request of requests) {
        let messageResponse: Answer;
        try {
          messageResponse = answer(request.messageRequest, await visible(context));
        } catch (error) {
          const { code, rawMessage } = ConnectError.from(error);
          const value = { errorCode: code, errorMessage: rawMessage };
          messageResponse = { case: "errorResponse", value };
        }
        yield { validHost: request.host, originalRequest: request, messageResponse };
      }
    },
  };
}

function answer(
  request: ServerReflectionRequest["messageRequest"],
  services: readonly VisibleService[],
): Answer {
  switch (request.case) {
    case "listServices": {
      const service = services.map(({ desc }) => ({ name: desc.typeName }));
      return { case: "listServicesResponse", value: { service } };
    }
    case "fileByFilename":
      return file(services, `file ${request.value}`, ({ name }) => name === request.value);
    case "fileContainingSymbol":
      return file(services, request.value, (each) => symbolsOf(each).has(request.value));
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = request.value;
      return file(services, `extension ${extensionNumber} of ${containingType}`, (each) =>
        extensionsOf(each, containingType).includes(extensionNumber),
      );
    }
    case "allExtensionNumbersOfType": {
      const files = services.flatMap(visibleFiles);
      if (!files.some((each) => symbolsOf(each).has(request.value))) {
        throw unknown(request.value);
      }
      const numbers = files.flatMap((each) => extensionsOf(each, request.value));
      return {
        case: "allExtensionNumbersResponse",
        value: { baseTypeName: request.value, extensionNumber: [...new Set(numbers)] },
      };
    }
    case undefined:
      throw new ConnectError("the request asks for nothing", Code.InvalidArgument);
  }
}

/** A file, and then all that it imports: of the first service that has it, so that they fit together. */
function file(
  services: readonly VisibleService[],
  what: string,
  isIt: (file: FileDescriptorProto) => boolean,
): Answer {
  for (const service of services) {
    const files = visibleFiles(service);
    const found = files.find(isIt);
    if (found) {
      const all = new Map(files.map((each) => [each.name, each]));
      const fileDescriptorProto = closure(found, all).map((each) =>
        toBinary(FileDescriptorProtoSchema, each),
      );
      return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
    }
  }
  throw unknown(what);
}

function closure(
  file: FileDescriptorProto,
  all: ReadonlyMap<string, FileDescriptorProto>,
  seen = new Set<FileDescriptorProto>(),
): FileDescriptorProto[] {
  seen.add(file);
  for (const name of file.dependency) {
    const next = all.get(name);
    if (next && !seen.has(next)) {
      closure(next, all, seen);
    }
  }
  return [...seen];
}

/** The full names of all that a file declares. */
function symbolsOf(file: FileDescriptorProto): Set<string> {
  const symbols = new Set<string>();
  const add = (scope: string, { name }: { name: string }): string => {
    const full = scope === "" ? name : `${scope}.${name}`;
    symbols.add(full);
    return full;
  };
  const addEnum = (scope: string, its: EnumDescriptorProto) => {
    add(scope, its);
    // The values of an enum are its siblings.
    for (const value of its.value) {
      add(scope, value);
    }
  };
  const addMessage = (scope: string, message: DescriptorProto) => {
    const full = add(scope, message);
    for (const each of [...message.field, ...message.oneofDecl, ...message.extension]) {
      add(full, each);
    }
    message.enumType.forEach((each) => void addEnum(full, each));
    message.nestedType.forEach((each) => void addMessage(full, each));
  };
  const scope = file.package;
  file.messageType.forEach((each) => void addMessage(scope, each));
  file.enumType.forEach((each) => void addEnum(scope, each));
  file.extension.forEach((each) => void add(scope, each));
  for (const service of file.service) {
    const full = add(scope, service);
    service.method.forEach((each) => void add(full, each));
  }
  return symbols;
}

/** The numbers of the extensions of a message that a file declares. */
function extensionsOf(file: FileDescriptorProto, typeName: string): number[] {
  const numbers: number[] = [];
  const add = (extension: readonly FieldDescriptorProto[]) => {
    for (const { extendee, number } of extension) {
      if (extendee === `.${typeName}`) {
        numbers.push(number);
      }
    }
  };
  const addNested = (message: DescriptorProto) => {
    add(message.extension);
    message.nestedType.forEach(addNested);
  };
  add(file.extension);
  file.messageType.forEach(addNested);
  return numbers;
}

function unknown(what: string): ConnectError {
  return new ConnectError(`nothing here that you may call has ${what}`, Code.NotFound);
}
