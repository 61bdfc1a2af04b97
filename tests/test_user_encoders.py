"""User encoders: equal to RecBole's models where RecBole is right, and trained on every position."""

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.data.transform import MaskItemSequence
from recbole.model.sequential_recommender import HGN, NARM, NPE, STAMP, BERT4Rec, GRU4Rec, NextItNet, SASRec

from recbole_video.data.negatives import NegativeSampler
from recbole_video.data.sequence_loaders import PrefixLoader, SequenceLoader
from recbole_video.data.step_plan import QUERY_POSITION, QUERY_ROW, StepPlan, cut_in_parts
from recbole_video.errors import ConfigError
from recbole_video.quick_start import run_recbole_video
from recbole_video.tasks.recommendation import make_loaders
from recbole_video.user_encoders import USER_ENCODERS
from recbole_video.user_encoders.base import VideoRecommender
from recbole_video.user_encoders.fmlprec import FilterLayer

from .conftest import ENCODERS, MODELS, small_options

STOCK = {"SASRec": SASRec, "GRU4Rec": GRU4Rec, "NextItNet": NextItNet, "BERT4Rec": BERT4Rec, "NARM": NARM}
CAUSAL = ("SASRec", "GRU4Rec", "NextItNet", "NARM")


def training_batch(config, data, model, index=None):
    loader = model.loader(config, data.actions)
    return loader.batch(np.arange(config["train_batch_size"]) if index is None else index)


def histories(config, n_items, lengths=(1, 2, 5, 9, 10), seed=0):
    rng = np.random.default_rng(seed)
    width = config["MAX_ITEM_LIST_LENGTH"]
    item_seq = torch.zeros(len(lengths), width, dtype=torch.long)
    for row, length in enumerate(lengths):
        item_seq[row, :length] = torch.from_numpy(rng.integers(1, n_items, length))
    return Interaction(
        {
            "item_id_list": item_seq,
            "item_length": torch.tensor(lengths),
            "item_id": torch.from_numpy(rng.integers(1, n_items, len(lengths))),
        }
    )


def stock_twin(config, data, model):
    """RecBole's own model with the weights of ours."""
    host = config.host(loss_type="CE")
    transform = MaskItemSequence(host) if config["model"] == "BERT4Rec" else None  # sets the names it reads
    twin = STOCK[config["model"]](host, data.catalogue)
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("item_embedding")}
    table = model.item_embedding.encoder.table.weight
    extra = model.item_embedding.extra
    state["item_embedding.weight"] = table if extra is None else torch.cat([table, extra])
    twin.load_state_dict(state)
    assert transform is None or host["MASK_ITEM_SEQ"]
    return twin.eval()


@pytest.mark.parametrize("name", STOCK)
@torch.no_grad()
def test_scores_equal_recboles_with_ids_and_equal_weights(make_model, name):
    config, data, model = make_model(name, "ID")
    model.eval()
    twin = stock_twin(config, data, model)
    # RecBole's NextItNet reads padding, and its BERT4Rec loses an item, unless histories are full.
    lengths = (10, 10, 10) if name in ("NextItNet", "BERT4Rec") else (1, 2, 5, 9, 10)
    batch = histories(config, data.catalogue.item_num, lengths)
    item_seq, length = batch["item_id_list"], batch["item_length"]
    assert torch.equal(model.predict(batch), twin.predict(batch))
    if name == "SASRec":  # leaves padding out to rank the catalogue: the same to float precision
        assert torch.equal(model.forward(item_seq, length), twin.forward(item_seq, length))
        torch.testing.assert_close(model.full_sort_predict(batch), twin.full_sort_predict(batch), rtol=1e-5, atol=1e-6)
    else:
        assert torch.equal(model.full_sort_predict(batch), twin.full_sort_predict(batch))


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec", "NARM"])
def test_full_softmax_loss_equals_recboles_on_its_prefix_rows(make_model, name):
    config, data, model = make_model(name, "ID", loss_type="CE")
    model.eval()
    twin = stock_twin(config, data, model)
    prefixes = PrefixLoader(config, data.actions)
    whole = SequenceLoader(config, data.actions)
    ours = model.calculate_loss(whole.batch(np.arange(len(whole.rows))))
    theirs = twin.calculate_loss(prefixes.batch(np.arange(len(prefixes.rows))))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", CAUSAL)
@torch.no_grad()
def test_states_at_the_last_position_equal_forward(make_model, name):
    config, data, model = make_model(name, "CVA")
    model.eval()
    batch = histories(config, data.catalogue.item_num)
    length = batch["item_length"]
    states = model.states(batch["item_id_list"])
    torch.testing.assert_close(states[torch.arange(len(length)), length - 1], model.user_vectors(batch))


@pytest.mark.parametrize("name", CAUSAL)
def test_states_of_real_positions_equal_the_padded_ones(make_model, name):
    """Value and gradient of the form that training uses, without padding."""
    config, data, model = make_model(name, "CVA")
    model.eval()
    batch = histories(config, data.catalogue.item_num, (1,) * 40 + (3,) * 30 + (7, 9, 10))
    item_seq, length = batch["item_id_list"], batch["item_length"]
    real = item_seq > 0
    row, position = real.nonzero(as_tuple=True)
    plan = StepPlan(
        {"item_id_list": item_seq, QUERY_ROW: row, QUERY_POSITION: position},
        cut_in_parts(length.numpy(), row.numpy()),
    )
    assert [part.width for part in plan.parts] == [1, 10] and plan.parts[-1].queries.stop == len(row)
    gradients = []
    for states in (model.real_states(plan), model.states(item_seq)[real]):
        model.zero_grad()
        states.sin().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        torch.testing.assert_close(states, model.states(item_seq)[real], rtol=1e-4, atol=1e-5)
    assert len(gradients[0]) == len(gradients[1]) > 5
    for mine, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", CAUSAL)
@torch.no_grad()
def test_states_do_not_see_the_future(make_model, name):
    config, data, model = make_model(name, "CVA")
    model.eval()
    item_seq = histories(config, data.catalogue.item_num, (10,))["item_id_list"]
    changed = item_seq.clone()
    changed[0, 6:] = changed[0, 6:] % (data.catalogue.item_num - 1) + 1
    assert not torch.equal(item_seq, changed)
    before, after = model.states(item_seq), model.states(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


@torch.no_grad()
def test_narm_in_one_pass_equals_recbole_on_every_prefix(make_model):
    config, data, model = make_model("NARM", "ID")
    model.eval()
    twin = stock_twin(config, data, model)
    item_seq = histories(config, data.catalogue.item_num, (10, 7))["item_id_list"]
    states = model.states(item_seq)
    for row, length in enumerate((10, 7)):
        for prefix in range(1, length + 1):
            cut = torch.zeros_like(item_seq[row : row + 1])
            cut[0, :prefix] = item_seq[row, :prefix]
            want = twin.forward(cut, torch.tensor([prefix]))[0]
            torch.testing.assert_close(states[row, prefix - 1], want)


@pytest.mark.parametrize("name", ["NextItNet", "SASRec", "GRU4Rec", "NARM", "BERT4Rec"])
@torch.no_grad()
def test_scores_do_not_depend_on_trailing_padding(make_model, name):
    config, data, model = make_model(name, "CVA")
    model.eval()
    batch = histories(config, data.catalogue.item_num, (1, 3, 4))
    cut = Interaction({**batch.interaction, "item_id_list": batch["item_id_list"][:, :4]})
    torch.testing.assert_close(model.full_sort_predict(batch), model.full_sort_predict(cut))


@torch.no_grad()
def test_nextitnet_does_not_depend_on_the_maximum_length(make_model):
    config, data, model = make_model("NextItNet", "ID", MAX_ITEM_LIST_LENGTH=10)
    longer_config, _, longer = make_model("NextItNet", "ID", MAX_ITEM_LIST_LENGTH=50, min_sequence_length=5)
    longer.load_state_dict(model.state_dict())
    model.eval(), longer.eval()
    short, long = (histories(c, data.catalogue.item_num, (2, 7)) for c in (config, longer_config))
    torch.testing.assert_close(model.full_sort_predict(short), longer.full_sort_predict(long))


def test_bert4rec_puts_the_mask_behind_the_history_against_a_loop(make_model):
    """Full histories lose their first item for it, as all do in RecBole; the others keep it."""
    config, data, model = make_model("BERT4Rec", "CVA")
    for lengths in ((1, 2, 5, 9, 10), (1, 3), (10, 10)):
        batch = histories(config, data.catalogue.item_num, lengths)
        masked, position = model._append_mask(batch["item_id_list"], batch["item_length"])
        for row, length in enumerate(lengths):
            kept = batch["item_id_list"][row, :length].tolist()[-9:]
            assert masked[row, : position[row] + 1].tolist() == [*kept, model.mask_token]
            assert not masked[row, position[row] + 1 :].any()
    recboles = BERT4Rec.reconstruct_test_data(model, batch["item_id_list"], batch["item_length"])
    assert torch.equal(masked, recboles)


def test_bert4rec_masks_real_positions_only_and_one_at_least(make_model):
    config, data, model = make_model("BERT4Rec", "CVA", mask_ratio=0.2, ft_ratio=0.0)
    loader = model.loader(config, data.actions)
    masks = []
    for step in range(300):
        batch = loader.batch(np.arange(12), step)
        mask = batch["masked_list"] == model.mask_token
        row, position = mask.nonzero(as_tuple=True)
        assert torch.equal(row, batch["query_row"]) and torch.equal(position, batch["query_position"])
        sequence = batch["masked_list"].clone()
        sequence[row, position] = batch["query_target"]
        longer = batch["sequence_list"]
        assert torch.equal(sequence, torch.where(longer[:, -1:] > 0, longer[:, 1:], longer[:, :-1]))  # the last L
        assert not (mask & (sequence == 0)).any() and mask.any(dim=1).all()
        masks.append(mask)
    long = sequence[:, 3] > 0
    assert torch.stack(masks)[:, long, 0].float().mean() == pytest.approx(0.2, abs=0.05)  # the first one trains too
    loader.last_only_ratio = 1.0
    batch = loader.batch(np.arange(12))
    assert torch.equal(batch["query_position"], (sequence > 0).sum(dim=1) - 1)


def test_bert4rec_item_bias_trains_with_ids_only(make_model):
    assert make_model("BERT4Rec", "ID")[2].item_bias() is not None
    model = make_model("BERT4Rec", "CVA")[2]
    assert model.item_bias() is None and not model.output_bias.any()


@pytest.mark.parametrize("length", [6, 7])
def test_filter_layer_is_a_circular_convolution(length):
    torch.manual_seed(0)
    layer = FilterLayer(length, 3, dropout=0.0, layer_norm_eps=1e-12)
    x = torch.randn(2, length, 3)
    weight = torch.view_as_complex(layer.filter.detach())[0]  # [L // 2 + 1, d]
    kernel = torch.fft.irfft(weight, n=length, dim=0)  # the filter as weights over lags
    want = torch.zeros_like(x)
    for t in range(length):
        for s in range(length):
            want[:, t] += kernel[(t - s) % length] * x[:, s]
    normed = torch.nn.functional.layer_norm(want + x, (3,), eps=1e-12)
    torch.testing.assert_close(layer(x).detach(), normed, rtol=1e-4, atol=1e-5)


def test_fmlprec_reads_histories_at_the_end_of_the_window(make_model):
    _, _, model = make_model("FMLPRec", "CVA")
    moved = model._move_padding_to_front(torch.tensor([[1, 2, 0, 0], [3, 4, 5, 6]]), torch.tensor([2, 4]))
    assert moved.tolist() == [[0, 0, 1, 2], [3, 4, 5, 6]]


def test_an_adapter_of_one_line_for_another_recbole_model(make_config, in_tmp, data_root):
    class VideoSTAMP(VideoRecommender, STAMP):
        pass

    options = small_options("SASRec", "CVA", data_path=str(data_root), epochs=2)
    options = {k: v for k, v in options.items() if k not in ("hidden_size", "inner_size")}
    result = run_recbole_video(VideoSTAMP, "tiny", config_dict={**options, "embedding_size": 16}, saved=False)
    assert 0 <= result["test_result"]["hit@10"] <= 1


@pytest.mark.parametrize("stock", [HGN, NPE])
def test_an_adapter_of_a_model_that_scores_in_another_way(make_config, data_root, stock):
    video_model = type(f"Video{stock.__name__}", (VideoRecommender, stock), {})
    options = {"data_path": str(data_root), "use_gpu": False, "show_progress": False, "item_encoder": "MLP"}
    with pytest.raises(ConfigError, match=f"Video{stock.__name__} does not rank by the dot product"):
        run_recbole_video(video_model, "tiny", config_dict={**options, "embedding_size": 16}, saved=False)


@pytest.mark.parametrize("way", ["registered", "path", "class"])
def test_whoever_names_it_it_is_checked(data_root, monkeypatch, way):
    """A registered adapter is no exception: only the package's own are known to score by a dot product."""
    for attribute in ("_entries", "_admitted"):
        monkeypatch.setattr(USER_ENCODERS, attribute, dict(getattr(USER_ENCODERS, attribute)))
    cls = type("OtherHGN", (VideoRecommender, HGN), {})
    model = cls
    if way != "class":
        USER_ENCODERS.register()(cls)
        model = "OtherHGN" if way == "registered" else f"{cls.__module__}:{cls.__qualname__}"
    options = {"data_path": str(data_root), "use_gpu": False, "show_progress": False, "item_encoder": "MLP"}
    with pytest.raises(ConfigError, match="OtherHGN does not rank by the dot product"):
        run_recbole_video(model, "tiny", config_dict={**options, "embedding_size": 16}, saved=False)


def test_the_check_leaves_the_random_numbers_of_training_alone(make_model):
    _, _, model = make_model("SASRec", "MLP")
    torch.manual_seed(3)
    want = torch.rand(4)
    torch.manual_seed(3)
    model.check_scoring()
    assert torch.equal(torch.rand(4), want) and model.training and model.item_embedding._catalogue is None


def test_nextitnets_penalty_is_recboles(make_model):
    config, data, model = make_model("NextItNet", "ID", reg_weight=0.3)
    twin = stock_twin(config, data, model)
    weights = [twin.item_embedding.weight, twin.final_layer.weight]
    want = 0.3 * twin.reg_loss(weights) + twin.reg_loss_rb()
    torch.testing.assert_close(model.penalty(), want.reshape(()))
    batch = training_batch(config, data, model)
    with_penalty = model.calculate_loss(batch)
    model.penalty = lambda: 0.0
    torch.testing.assert_close(with_penalty - model.calculate_loss(batch), want.reshape(()))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_an_epoch_with_every_encoder(in_tmp, data_root, name, encoder):
    options = small_options(name, encoder, data_path=str(data_root))
    result = run_recbole_video(name, "tiny", config_dict=options, saved=False)
    assert set(result["test_result"]) == {"hit@10", "hit@20", "ndcg@10", "ndcg@20"}
    assert result["parameters"]["model"] > 0


@pytest.mark.parametrize("name", MODELS)
def test_training_lowers_the_loss(make_model, name):
    config, data, model = make_model(name, "CVA", learning_rate=0.003)
    loader = make_loaders(config, data, model)["train"]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    torch.manual_seed(0)
    means = []
    for epoch in range(12):
        loader.set_epoch(epoch)
        losses = []
        for batch in loader:
            optimizer.zero_grad()
            loss = model.calculate_loss(batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        means.append(np.mean(losses))
    assert means[-1] < means[0]


@pytest.mark.parametrize("name", MODELS)
def test_gradient_reaches_the_item_encoder(make_model, name):
    config, data, model = make_model(name, "MLP")
    model.calculate_loss(training_batch(config, data, model)).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.item_embedding.encoder.parameters())


def test_negatives_are_never_the_users_own_and_as_frequent_as_asked():
    counts = np.r_[9, 0, np.arange(40)]
    options = {"distribution": "popularity", "sample_num": 4000, "alpha": 0.5}
    own = np.tile(np.arange(1, 21), (5, 1))
    drawn = NegativeSampler(options, counts).draw(own, np.random.default_rng(0))
    assert drawn.shape == (5, 4000) and drawn.min() > 20
    share = np.bincount(drawn.reshape(-1), minlength=42)[21:] / drawn.size
    want = np.sqrt(np.arange(19, 40)) / np.sqrt(np.arange(19, 40)).sum()
    assert np.abs(share - want).max() < 5 * np.sqrt(0.05 / drawn.size)  # five standard errors
    uniform = NegativeSampler({"distribution": "uniform", "sample_num": 4000}, counts)
    drawn = uniform.draw(np.zeros((1, 1), int), np.random.default_rng(0))
    assert set(drawn[0]) == set(range(1, 42))


def test_prefix_and_sequence_training_see_the_same_targets(make_model):
    config, data, _ = make_model()
    prefix, whole = PrefixLoader(config, data.actions), SequenceLoader(config, data.actions)
    batch = prefix.batch(np.arange(len(prefix.rows)))
    from_prefixes = sorted(zip(batch["user_id"].tolist(), batch["item_id"].tolist(), strict=True))
    batch = whole.batch(np.arange(len(whole.rows)))
    row, position = torch.nonzero(batch["target_list"], as_tuple=True)
    from_sequences = sorted(
        zip(batch["user_id"][row].tolist(), batch["target_list"][row, position].tolist(), strict=True)
    )
    assert from_prefixes == from_sequences


@pytest.mark.parametrize("name", MODELS)
def test_large_tables_of_the_host_are_never_made(make_model, monkeypatch, name):
    """The same shapes, without the memory; small ones are made, so that a seed's weights stay what they were."""
    config, data, usual = make_model(name, "CVA")
    monkeypatch.setattr("recbole_video.runtime.virtual_tables.LARGE", 1)
    made = []
    original = torch.nn.Embedding.reset_parameters

    def spy(self):
        made.append((self.num_embeddings, self.weight.device.type))
        original(self)

    monkeypatch.setattr(torch.nn.Embedding, "reset_parameters", spy)
    config, data, model = make_model(name, "CVA")
    assert {device for rows, device in made if rows >= data.catalogue.item_num} == {"meta"}
    shapes = {key: value.shape for key, value in usual.state_dict().items()}
    assert {key: value.shape for key, value in model.state_dict().items()} == shapes
    assert not any(value.is_meta for value in model.state_dict().values())
    model.calculate_loss(training_batch(config, data, model)).backward()
    if model.item_embedding.extra is not None:
        assert 0 < model.item_embedding.extra.std() < 0.1
    assert torch.nn.Embedding(50, 3).weight.device.type == "cpu"
