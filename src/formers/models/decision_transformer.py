"""The Decision Transformer: actions from what has happened, and from the return that is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import ModelOutput
from transformers.utils.generic import can_return_tuple

from formers.models.costs import count_flops, on_meta
from formers.models.decision_config import DecisionConfig
from formers.models.losses import IGNORED, cross_entropy, with_auxiliary
from formers.models.model_with_head import ModelWithHead
from formers.ops import require_data
from formers.part import Unsupported


@dataclass
class DecisionOutput(ModelOutput):
    """What a `DecisionTransformer` returns.

    Attributes:
        loss: the loss of the actions, where there are labels.
        action_preds: logits of discrete actions, or continuous actions from −1 to 1, (B, K, A).
        hidden_states: what enters each layer, and what leaves the last, (B, tokens, D) each, where they are asked for.
    """

    loss: Tensor | None = None
    action_preds: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class DecisionTransformer(ModelWithHead):
    """Offline reinforcement learning as sequence modelling, on any mixer, residual and feed-forward.

    A trajectory of K steps is the sequence R̂₁, s₁, a₁, R̂₂, s₂, a₂, … of 3·K tokens: the return that is still to come,
    the state, the action. Each kind has a linear embedding of its own (a lookup for discrete actions), to which the
    learned embedding of its timestep is added, the same for all three; then a norm (`embedding_norm`). The action is
    read from its state's token. Without `return_conditioned` there are 2·K tokens, and the model clones behaviour.

    It has no `input_ids`, and streams no state: a rollout reads its last K steps anew.
    Source: Chen et al. 2021, arXiv:2106.01345.
    """

    config_class = DecisionConfig
    config: DecisionConfig
    main_input_name = "states"
    direction = True
    trained_as = "ForTokenClassification"

    def __init__(self, config: DecisionConfig):
        super().__init__(config)
        self.model.register_module("embed_tokens", None)  # trajectories are embedded here
        self.streaming = False
        width, actions = config.position.embedding_width(config.site()), config.action_size
        self.embed_timestep = nn.Embedding(config.longest_episode, width)
        self.embed_return = nn.Linear(1, width) if config.return_conditioned else None
        self.embed_state = nn.Linear(config.state_size, width)
        self.embed_action = nn.Embedding(actions, width) if config.discrete_actions else nn.Linear(actions, width)
        self.predict_action = nn.Linear(config.width, actions)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding of states."""
        return self.embed_state

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Raise Unsupported: there is more than one embedding."""
        raise Unsupported("a DecisionTransformer has embeddings of returns, states, actions and timesteps; set these")

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        states: Tensor,
        actions: Tensor,
        timesteps: Tensor,
        returns_to_go: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
    ) -> DecisionOutput:
        """Return the action at each step, predicted from what is before it.

        Args:
            states: (B, K, S).
            actions: those that were taken; integers (B, K), or numbers (B, K, A). One that is not known yet, as that of
                the last step in a rollout, may be 0: no action is predicted from itself.
            timesteps: the number of each step in its episode, from 0, (B, K).
            returns_to_go: the sum of rewards from each step on, (B, K). A model that is not `return_conditioned` does
                not read it.
            attention_mask: 1 = a real step, 0 = padding, (B, K), whose contents do not matter.
            labels: the actions to learn, of the shape of `actions`; −100 where there is none.
            output_hidden_states, output_attentions, return_dict: as in `Transformer.forward`.
            num_items_in_batch: divides the sum of losses instead of the number of labels, as in `losses`.

        The loss is the mean cross-entropy of discrete actions, and the mean squared error of the components of
        continuous ones. Raise ValueError for shapes that do not fit, a timestep from `longest_episode` on, and returns
        that are missing.
        """
        self._check_shapes(states, actions, timesteps, returns_to_go)
        mask_bk = torch.ones_like(timesteps) if attention_mask is None else attention_mask
        x_bld = self.embed(states, actions, timesteps, returns_to_go, mask_bk.bool())
        with self.collecting_losses(labels, num_items_in_batch) as auxiliary:
            out = self.encode(
                None,
                None if attention_mask is None else mask_bk.repeat_interleave(self.config.tokens_per_step, 1),
                None,
                x_bld,
                output_hidden_states=output_hidden_states,
                output_attentions=output_attentions,
            )
        at_states_bkd = out.last_hidden_state[:, self.config.tokens_per_step - 2 :: self.config.tokens_per_step]
        predicted = self.predict_action(at_states_bkd)
        if not self.config.discrete_actions:
            predicted = predicted.tanh()
        loss = None
        if labels is not None:
            task_loss = self.loss_of(predicted, labels, num_items_in_batch)
            loss = with_auxiliary(task_loss, auxiliary, labels, num_items_in_batch)
        return DecisionOutput(loss=loss, action_preds=predicted, hidden_states=out.hidden_states)

    def embed(
        self, states: Tensor, actions: Tensor, timesteps: Tensor, returns_to_go: Tensor | None, mask_bk: Tensor
    ) -> Tensor:
        """Return the sequence of embedded tokens, (B, 2·K or 3·K, D), with zeros in the place of padding's contents."""
        time_bkd = self.embed_timestep(timesteps.masked_fill(~mask_bk, 0))
        hidden_bk1 = ~mask_bk.unsqueeze(-1)
        kinds = [self.embed_state(states.masked_fill(hidden_bk1, 0))]
        if self.embed_return is not None:
            assert returns_to_go is not None
            kinds.insert(0, self.embed_return(returns_to_go.unsqueeze(-1).masked_fill(hidden_bk1, 0)))
        hidden_actions = ~mask_bk if self.config.discrete_actions else hidden_bk1
        kinds.append(self.embed_action(actions.masked_fill(hidden_actions, 0)))
        return torch.stack([kind_bkd + time_bkd for kind_bkd in kinds], 2).flatten(1, 2)

    def loss_of(self, predicted: Tensor, labels: Tensor, count: Tensor | int | None = None) -> Tensor:
        """Return the loss of predicted actions, (B, K, A), for labels: mean cross-entropy, or mean squared error."""
        if self.config.discrete_actions:
            return cross_entropy(predicted, labels, count)
        if labels.shape != predicted.shape:
            raise ValueError(f"labels have shape {tuple(labels.shape)}; expected continuous {tuple(predicted.shape)}")
        counted = labels != IGNORED
        squares = F.mse_loss(predicted.float(), labels.masked_fill(~counted, 0).float(), reduction="none")
        total = squares.masked_fill(~counted, 0).sum()
        return total / (counted.sum() if count is None else torch.as_tensor(count, device=total.device))

    def flops_per_token(self, length: int, steps: float | None = None) -> float:
        """Return the floating-point operations per step, of 2 or 3 tokens, of a forward pass over `length` steps.

        `steps` are those of a token through the layers, as in `costs.flops_per_token`.
        """
        model = on_meta(self)
        with torch.device("meta"):
            states, times = torch.zeros(1, length, self.config.state_size), torch.zeros(1, length, dtype=torch.long)
            actions = times if self.config.discrete_actions else torch.zeros(1, length, self.config.action_size)
            returns = times.float() if self.config.return_conditioned else None
            return count_flops(model, lambda: model(states, actions, times, returns), steps) / length

    def _check_shapes(self, states: Tensor, actions: Tensor, timesteps: Tensor, returns_to_go: Tensor | None) -> None:
        config = self.config
        batch, steps = timesteps.shape
        expected = {
            "states": (states, (batch, steps, config.state_size)),
            "actions": (actions, (batch, steps) if config.discrete_actions else (batch, steps, config.action_size)),
        }
        if returns_to_go is not None:
            expected["returns_to_go"] = (returns_to_go, (batch, steps))
        for name, (tensor, shape) in expected.items():
            if tuple(tensor.shape) != shape:
                raise ValueError(f"{name} have shape {tuple(tensor.shape)}; expected {shape}, as timesteps have")
        if returns_to_go is None and config.return_conditioned:
            raise ValueError("a model with return_conditioned=True needs returns_to_go")
        message = f"timesteps must be less than longest_episode={config.longest_episode}; build it with a larger one"
        require_data(timesteps < config.longest_episode, ValueError(message))
