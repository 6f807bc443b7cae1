-- Sends the requests of a file in turns, as they stand there (they are separated by a NUL). The file is the script's argument.
local requests = {}
local at = 0

function init (args)
  local file = assert(io.open(args[1], "rb"))
  local all = file:read("*a")
  file:close()
  for one in string.gmatch(all, "[^%z]+") do requests[#requests + 1] = one end
end

function request ()
  at = at % #requests + 1
  return requests[at]
end
