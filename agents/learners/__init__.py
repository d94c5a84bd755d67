"""PPO and DQN on the questions, trained in legs that can be resumed exactly."""
