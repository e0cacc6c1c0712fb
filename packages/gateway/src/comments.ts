import type {
  DescEnum,
  DescField,
  DescFile,
  DescMessage,
  DescMethod,
  DescService,
} from "@bufbuild/protobuf";
import type { DescriptorProto, FileDescriptorProto } from "@bufbuild/protobuf/wkt";

type Described = DescService | DescMethod | DescMessage | DescField | DescEnum;

const ofFiles = new WeakMap<FileDescriptorProto, Map<object, string>>();

/** The comment before a declaration; undefined when there is none, or the schema came without. */
export function commentOf(desc: Described): string | undefined {
  return commentsOf(fileOf(desc).proto).get(desc.proto);
}

function fileOf(desc: Described): DescFile {
  return desc.kind === "field" || desc.kind === "rpc" ? desc.parent.file : desc.file;
}

/** The comments of a file, by what they describe. */
function commentsOf(file: FileDescriptorProto): Map<object, string> {
  let comments = ofFiles.get(file);
  if (!comments) {
    comments = readComments(file);
    ofFiles.set(file, comments);
  }
  return comments;
}

/** Numbers of the fields of descriptor.proto that lead to a declaration. */
const inFile = { messageType: 4, enumType: 5, service: 6 };
const inMessage = { field: 2, nestedType: 3, enumType: 4 };
const inService = { method: 2 };

function readComments(file: FileDescriptorProto): Map<object, string> {
  const texts = new Map<string, string>();
  for (const { path, leadingComments } of file.sourceCodeInfo?.location ?? []) {
    const text = leadingComments.replaceAll(/^ /gm, "").trim();
    if (text !== "") {
      texts.set(path.join(), text);
    }
  }
  const comments = new Map<object, string>();
  const add = <T extends object>(
    all: readonly T[],
    path: readonly number[],
    then = (_each: T, _path: readonly number[]) => {},
  ) => {
    all.forEach((each, i) => {
      const its = [...path, i];
      const text = texts.get(its.join());
      if (text !== undefined) {
        comments.set(each, text);
      }
      then(each, its);
    });
  };
  const inside = ({ field, nestedType, enumType }: DescriptorProto, path: readonly number[]) => {
    add(field, [...path, inMessage.field]);
    add(enumType, [...path, inMessage.enumType]);
    add(nestedType, [...path, inMessage.nestedType], inside);
  };
  if (texts.size > 0) {
    add(file.messageType, [inFile.messageType], inside);
    add(file.enumType, [inFile.enumType]);
    add(file.service, [inFile.service], ({ method }, path) => {
      add(method, [...path, inService.method]);
    });
  }
  return comments;
}
