import {
  create,
  createFileRegistry,
  type DescMessage,
  type FileRegistry,
} from "@bufbuild/protobuf";
import {
  AnySchema,
  type DescriptorProto,
  DescriptorProtoSchema,
  Edition,
  type EnumDescriptorProto,
  EnumDescriptorProtoSchema,
  FeatureSet_EnumType,
  FeatureSet_FieldPresence,
  FeatureSet_MessageEncoding,
  FeatureSet_RepeatedFieldEncoding,
  FeatureSet_Utf8Validation,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  FieldOptions_JSType,
  FieldOptionsSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  file_google_protobuf_any,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
} from "@bufbuild/protobuf/wkt";

/** Chooses whole numbers: by fast-check, which makes them smaller when a property fails, or by chance. */
export interface Choice {
  int(min: number, max: number): number;
}

/** One of some values. */
export function oneOf<T>(choice: Choice, values: readonly T[]): T {
  return values[choice.int(0, values.length - 1)] as T;
}

/** True in one of so many cases. */
export function sometimes(choice: Choice, cases: number): boolean {
  return choice.int(0, cases - 1) === cases - 1;
}

type Syntax = "proto2" | "proto3" | Edition;

const { GROUP, MESSAGE, ENUM } = FieldDescriptorProto_Type;
const scalars = Object.values(FieldDescriptorProto_Type).filter(
  (type): type is FieldDescriptorProto_Type =>
    typeof type === "number" && type !== GROUP && type !== MESSAGE && type !== ENUM,
);
const { STRING, BYTES, FLOAT, DOUBLE, BOOL } = FieldDescriptorProto_Type;

const wellKnown = [
  file_google_protobuf_any,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
];
const wellKnownTypes = [
  AnySchema.typeName,
  "google.protobuf.Timestamp",
  "google.protobuf.Struct",
  "google.protobuf.Value",
  "google.protobuf.ListValue",
  ...["Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes"].map(
    (name) => `google.protobuf.${name}Value`,
  ),
];

/** Some messages that name each other, of one syntax or edition. */
export function someSchemas(choice: Choice): DescMessage[] {
  const file = new FileMaker(choice).make();
  const registry: FileRegistry = createFileRegistry(file, (name) =>
    wellKnown.map(({ proto }) => proto).find((proto) => proto.name === name),
  );
  return [...registry].filter(
    (type): type is DescMessage => type.kind === "message" && type.typeName.startsWith("made."),
  );
}

class FileMaker {
  private readonly choice: Choice;
  private readonly syntax: Syntax;
  private readonly messages: number;
  private readonly enums: number;

  constructor(choice: Choice) {
    this.choice = choice;
    this.syntax = oneOf<Syntax>(choice, [
      "proto3",
      "proto2",
      Edition.EDITION_2023,
      Edition.EDITION_2024,
    ]);
    this.messages = choice.int(1, 4);
    this.enums = choice.int(1, 2);
  }

  private get isEdition(): boolean {
    return typeof this.syntax === "number";
  }

  make(): FileDescriptorProto {
    const range = (count: number) => Array.from({ length: count }, (_, i) => i);
    return create(FileDescriptorProtoSchema, {
      name: "made.proto",
      package: "made",
      ...(typeof this.syntax === "number"
        ? { syntax: "editions", edition: this.syntax }
        : { syntax: this.syntax }),
      dependency: wellKnown.map(({ proto }) => proto.name),
      enumType: range(this.enums).map((i) => this.enumeration(i)),
      messageType: range(this.messages).map((i) => this.message(i)),
    });
  }

  private enumeration(index: number): EnumDescriptorProto {
    const isOpen = this.syntax === "proto3" || (this.isEdition && this.choice.int(0, 1) === 0);
    const first = isOpen ? 0 : this.choice.int(0, 2);
    return create(EnumDescriptorProtoSchema, {
      name: `E${index}`,
      value: [
        { name: `E${index}_A`, number: first },
        { name: `E${index}_B`, number: 7 },
        { name: `E${index}_C`, number: -5 },
        { name: `E${index}_D`, number: 300 },
      ],
      ...(this.isEdition
        ? {
            options: {
              features: {
                enumType: isOpen ? FeatureSet_EnumType.OPEN : FeatureSet_EnumType.CLOSED,
              },
            },
          }
        : {}),
    });
  }

  private message(index: number): DescriptorProto {
    const { choice } = this;
    const message = create(DescriptorProtoSchema, { name: `M${index}` });
    const oneofs = choice.int(0, 2);
    for (let i = 0; i < oneofs; i++) {
      message.oneofDecl.push({
        $typeName: "google.protobuf.OneofDescriptorProto",
        name: `pick${i}`,
      });
    }
    const used = new Set<number>();
    for (let i = 0; i < oneofs; i++) {
      // A oneof without a field is refused.
      message.field.push(this.field(message, index, used, i));
    }
    const count = choice.int(0, 7);
    for (let i = 0; i < count; i++) {
      const oneof = oneofs > 0 && sometimes(choice, 4) ? choice.int(0, oneofs - 1) : undefined;
      message.field.push(this.field(message, index, used, oneof));
    }
    return message;
  }

  private field(
    message: DescriptorProto,
    index: number,
    used: Set<number>,
    oneof: number | undefined,
  ): FieldDescriptorProto {
    const { choice, syntax } = this;
    const name = `f${used.size}`;
    const field = create(FieldDescriptorProtoSchema, { name, jsonName: name });
    field.number = this.number(used);
    const isRepeated = oneof === undefined && sometimes(choice, 3);
    field.label = isRepeated
      ? FieldDescriptorProto_Label.REPEATED
      : FieldDescriptorProto_Label.OPTIONAL;
    if (oneof !== undefined) {
      field.oneofIndex = oneof;
    }
    if (isRepeated && sometimes(choice, 2)) {
      this.map(message, index, field);
      return field;
    }
    this.type(field, true);
    const isMessage = field.type === MESSAGE || field.type === GROUP;
    const features: Record<string, number> = {};
    if (isRepeated) {
      this.packing(field, features);
    } else if (oneof === undefined) {
      this.presence(message, field, features);
    }
    if (this.isEdition && field.type === STRING && sometimes(choice, 2)) {
      features["utf8Validation"] = oneOf(choice, [
        FeatureSet_Utf8Validation.NONE,
        FeatureSet_Utf8Validation.VERIFY,
      ]);
    }
    if (this.isEdition && isMessage && sometimes(choice, 2)) {
      features["messageEncoding"] = FeatureSet_MessageEncoding.DELIMITED;
    }
    if (syntax === "proto2" && field.type === MESSAGE && sometimes(choice, 3)) {
      field.type = GROUP;
    }
    const { packed, ...rest } = features;
    field.options = create(FieldOptionsSchema, {
      jstype: sometimes(choice, 4) ? FieldOptions_JSType.JS_STRING : FieldOptions_JSType.JS_NORMAL,
      ...(this.isEdition ? { features: rest } : {}),
      ...(packed === undefined ? {} : { packed: packed === 1 }),
    });
    return field;
  }

  private number(used: Set<number>): number {
    const { choice } = this;
    const highest = oneOf(choice, [15, 15, 15, 300, 70_000, 536_870_911]);
    let number = choice.int(1, highest);
    while (used.has(number) || (number >= 19_000 && number < 20_000)) {
      number = (number % 536_870_911) + 1;
    }
    used.add(number);
    return number;
  }

  private type(field: FieldDescriptorProto, singular: boolean): void {
    const { choice } = this;
    const kind = choice.int(0, 9);
    if (kind < 6) {
      field.type = oneOf(choice, scalars);
    } else if (kind < 7) {
      field.type = ENUM;
      field.typeName = `.made.E${choice.int(0, this.enums - 1)}`;
    } else {
      field.type = MESSAGE;
      field.typeName = `.${
        kind === 9 && singular
          ? oneOf(choice, wellKnownTypes)
          : `made.M${choice.int(0, this.messages - 1)}`
      }`;
    }
  }

  private packing(field: FieldDescriptorProto, features: Record<string, number>): void {
    const { choice } = this;
    const packable = ![STRING, BYTES, MESSAGE, GROUP].includes(field.type);
    if (!packable || sometimes(choice, 2)) {
      return;
    }
    const packed = choice.int(0, 1);
    if (this.isEdition) {
      features["repeatedFieldEncoding"] =
        packed === 1
          ? FeatureSet_RepeatedFieldEncoding.PACKED
          : FeatureSet_RepeatedFieldEncoding.EXPANDED;
    } else {
      features["packed"] = packed;
    }
  }

  private presence(
    message: DescriptorProto,
    field: FieldDescriptorProto,
    features: Record<string, number>,
  ): void {
    const { choice, syntax } = this;
    if (syntax === "proto3") {
      if (sometimes(choice, 3)) {
        field.proto3Optional = true;
        field.oneofIndex = message.oneofDecl.length;
        message.oneofDecl.push({
          $typeName: "google.protobuf.OneofDescriptorProto",
          name: `_${field.name}`,
        });
      }
      return;
    }
    // A recursive required field could never be written.
    const mayBeRequired = field.type !== MESSAGE;
    if (syntax === "proto2") {
      if (mayBeRequired && sometimes(choice, 8)) {
        field.label = FieldDescriptorProto_Label.REQUIRED;
      }
    } else if (field.type !== MESSAGE) {
      features["fieldPresence"] = oneOf(choice, [
        FeatureSet_FieldPresence.EXPLICIT,
        ...(field.type === ENUM ? [] : [FeatureSet_FieldPresence.IMPLICIT]),
        ...(sometimes(choice, 4) ? [FeatureSet_FieldPresence.LEGACY_REQUIRED] : []),
      ]);
      if (features["fieldPresence"] === FeatureSet_FieldPresence.IMPLICIT) {
        return;
      }
    }
    if (sometimes(choice, 3)) {
      this.default(field);
    }
  }

  private default(field: FieldDescriptorProto): void {
    switch (field.type) {
      case STRING:
      case BYTES:
        field.defaultValue = "none";
        break;
      case BOOL:
        field.defaultValue = "true";
        break;
      case FLOAT:
      case DOUBLE:
        field.defaultValue = oneOf(this.choice, ["1.5", "nan", "inf", "-0"]);
        break;
      case ENUM:
        field.defaultValue = `${field.typeName.split(".").at(-1)}_B`;
        break;
      case MESSAGE:
      case GROUP:
        break;
      default:
        field.defaultValue = "7";
    }
  }

  private map(message: DescriptorProto, index: number, field: FieldDescriptorProto): void {
    const { choice } = this;
    const name = `F${field.name.slice(1)}Entry`;
    const keys = scalars.filter((type) => ![FLOAT, DOUBLE, BYTES].includes(type));
    const value = create(FieldDescriptorProtoSchema, {
      name: "value",
      number: 2,
      label: FieldDescriptorProto_Label.OPTIONAL,
    });
    this.type(value, true);
    message.nestedType.push(
      create(DescriptorProtoSchema, {
        name,
        options: { mapEntry: true },
        field: [
          {
            name: "key",
            number: 1,
            label: FieldDescriptorProto_Label.OPTIONAL,
            type: oneOf(choice, keys),
          },
          value,
        ],
      }),
    );
    field.type = MESSAGE;
    field.typeName = `.made.M${index}.${name}`;
  }
}
