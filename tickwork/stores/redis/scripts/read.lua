-- Read values of hashes. ARGV: fields as JSON, and the names of hashes.
-- Returns one joined text for each hash.
local NAMED = { tasks = TASKS, definitions = DEFINITIONS, runs = RUNS, grants = GRANTS }
local fields, answers = cjson.decode(ARGV[1]), {}
for at = 2, #ARGV do
  answers[at - 1] = joined(values_of(NAMED[ARGV[at]], fields))
end
return answers
