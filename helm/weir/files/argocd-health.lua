-- What Argo CD shows of a ModelTier or RoutingPolicy: see docs/status.md.
local generation = obj.metadata.generation
local status = obj.status or {}
if status.observedGeneration ~= generation then
  return {status = "Progressing", message = "the operator has not looked at this generation yet"}
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" and condition.observedGeneration == generation then
    local health = {True = "Healthy", False = "Degraded"}
    return {status = health[condition.status] or "Progressing", message = condition.message}
  end
end
return {status = "Progressing", message = "the operator has not said yet whether it is ready"}
