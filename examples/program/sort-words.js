// Sorts the words of a line: pool-server --program 'node examples/program/sort-words.js'
//
// Any program that reads a line and writes a line will do. A reply that begins with "ERROR: " is an
// error to the client; what is written to standard error goes to the service's log.
const lines = require('readline').createInterface({ input: process.stdin, crlfDelay: Infinity });

lines.on('line', (line) => {
  const words = line.split(' ').filter(Boolean);
  console.log(words.length === 0 ? 'ERROR: no words' : words.sort().join(' '));
});
