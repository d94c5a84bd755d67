"""PPO, DQN and their masked kin on the questions, trained in legs that can be resumed exactly."""
