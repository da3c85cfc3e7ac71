// node ws_socketio.js PORT: socket.io, one room, its own `emit`, over WebSockets alone. NODE_PATH says where it is.
const { createServer } = require("http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false });
io.on("connection", (socket) => {
  socket.join("room");
  socket.on("say", (text) => io.to("room").emit("said", text));
});
http.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
