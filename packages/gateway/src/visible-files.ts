import { clone, type DescEnum, type DescFile, type DescMessage } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import {
  type DescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { type VisibleService, withImports } from "./visible-services.js";

type Type = DescMessage | DescEnum;

/**
 * The files of a service and of all that it uses, its own first. Of a service that somebody may
 * call in part only: its methods that may be called and the types that these use, and no more.
 */
export function visibleFiles({ desc, methods, isLimited }: VisibleService): FileDescriptorProto[] {
  if (!isLimited) {
    return withImports(desc.file).map(({ proto }) => proto);
  }
  const parts = new Parts();
  const own = parts.of(desc.file);
  for (const { input, output } of methods) {
    parts.use(input, own);
    parts.use(output, own);
  }
  const names = new Set(methods.map(({ name }) => name));
  const service = desc.proto;
  return parts.files().map((file) => {
    if (file.name === desc.file.proto.name) {
      const method = service.method.filter(({ name }) => names.has(name));
      file.service = [{ ...service, method }];
    }
    return file;
  });
}

/** What is used of a file. */
interface Part {
  readonly file: DescFile;
  /** Names of the types of its top level. */
  readonly types: Set<string>;
  readonly imports: Set<string>;
}

/** The parts of files that are used, as far as they are known. */
class Parts {
  private readonly parts = new Map<string, Part>();

  of(file: DescFile): Part {
    const { name } = file.proto;
    const part = this.parts.get(name) ?? { file, types: new Set<string>(), imports: new Set() };
    this.parts.set(name, part);
    return part;
  }

  /** Adds a type that a part uses: the whole type of the top level that it is within. */
  use(type: Type, by: Part): void {
    const top = topOf(type);
    const part = this.of(top.file);
    if (part !== by) {
      by.imports.add(part.file.proto.name);
    }
    if (part.types.has(top.name)) {
      return;
    }
    part.types.add(top.name);
    for (const each of top.kind === "message" ? [top, ...nestedTypes(top)] : []) {
      for (const { message, enum: its } of each.kind === "message" ? each.fields : []) {
        const used = message ?? its;
        if (used) {
          this.use(used, part);
        }
      }
    }
  }

  files(): FileDescriptorProto[] {
    return [...this.parts.values()].map(({ file, types, imports }) => {
      const { sourceCodeInfo: _comments, ...proto } = clone(FileDescriptorProtoSchema, file.proto);
      return {
        ...proto,
        dependency: [...imports],
        publicDependency: [],
        weakDependency: [],
        optionDependency: [],
        messageType: proto.messageType.filter(({ name }) => types.has(name)).map(withoutExtensions),
        enumType: proto.enumType.filter(({ name }) => types.has(name)),
        service: [],
        extension: [],
      };
    });
  }
}

function topOf(type: Type): Type {
  return type.parent ? topOf(type.parent) : type;
}

/** They may extend what is not shown. */
function withoutExtensions(message: DescriptorProto): DescriptorProto {
  return { ...message, extension: [], nestedType: message.nestedType.map(withoutExtensions) };
}
