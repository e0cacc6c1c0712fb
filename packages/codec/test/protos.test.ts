import { test } from "vitest";
import { expectEveryMessage } from "./every-message.js";
import { repositoryProtos } from "./protos.js";

test("the messages of this repository are written and read as protobuf-es does", () => {
  expectEveryMessage(repositoryProtos(), 60);
});
