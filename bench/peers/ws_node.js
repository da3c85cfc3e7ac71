// node ws_node.js PORT [deflate]: Node's `ws`, one room, a send for every connection. NODE_PATH says where `ws` is.
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({
  host: "127.0.0.1", port: Number(process.argv[2]), path: "/ws", backlog: 4096,
  perMessageDeflate: process.argv[3] === "deflate" && { threshold: 0 },
});
server.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (message) => {
    const text = message.toString();
    for (const other of server.clients) if (other.readyState === 1) other.send(text);
  });
});
