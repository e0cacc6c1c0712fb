export * from "./photo_jetrpc.js";
export * from "./photo_pb.js";
