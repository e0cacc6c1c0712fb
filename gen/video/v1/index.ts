export * from "./video_jetrpc.js";
export * from "./video_pb.js";
